# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the capture program wrote, other tools unpack to the same tree."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from tests.integration.oci.conftest import Kiln, Tree, Unpack

# Version 2, permitted net_raw, effective: what setcap cap_net_raw+ep gives (capabilities(7)).
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
# Version 2; user::rw- user:1234:r-- group::r-- mask::r-- other::--- (acl(5)).
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, bits, who)
    for tag, bits, who in [
        (1, 6, 0xFFFFFFFF),
        (2, 4, 1234),
        (4, 4, 0xFFFFFFFF),
        (16, 4, 0xFFFFFFFF),
        (32, 0, 0xFFFFFFFF),
    ]
)


def write(path: Path, content: bytes = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def make(path: Path, kind: str) -> None:
    if kind == "dir":
        write(path / "below" / "file")
    elif kind == "file":
        write(path, b"a file")
    elif kind == "link":
        path.symlink_to("elsewhere/dir")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))


class Case(Protocol):
    """Makes a tree, and then changes it."""

    def before(self, root: Path, /) -> None: ...

    def after(self, root: Path, /) -> None: ...


class Links:
    """Hard links within a directory, across directories, and to what did not change."""

    @staticmethod
    def before(root: Path) -> None:
        one = write(root / "m" / "one")
        os.link(one, root / "m" / "two")
        (root / "a").mkdir()
        (root / "z").mkdir()
        os.link(one, root / "z" / "three")
        write(root / "unchanged")
        for name in ("x", "y", "w"):
            write(root / "kept" / name, name.encode())
        os.link(root / "kept" / "x", root / "kept" / "x2")

    @staticmethod
    def after(root: Path) -> None:
        os.link(root / "unchanged", root / "a" / "of-unchanged")
        (root / "m" / "one").unlink()
        os.link(root / "kept" / "y", root / ("long-" * 40))
        (root / "kept" / "x2").unlink()
        os.link(root / "kept" / "w", root / "kept" / "x2")


class Attributes:
    """Extended attributes, file capabilities, access lists, and links that share them."""

    @staticmethod
    def before(root: Path) -> None:
        ping = Path(shutil.copy("/usr/bin/true", root / "ping"))
        ping.chmod(0o755)
        os.setxattr(ping, "security.capability", CAPABILITY)
        os.link(ping, root / "ping-too")
        noted = write(root / "noted")
        os.setxattr(noted, "user.note", b"\xff\0\n=")
        os.setxattr(write(root / "changing"), "user.note", b"old")
        os.setxattr(write(root / "losing"), "user.note", b"old")
        listed = write(root / "listed")
        listed.chmod(0o640)
        os.setxattr(listed, "system.posix_acl_access", ACL)
        (root / "dir").mkdir()
        os.setxattr(root / "dir", "user.note", b"of a directory")
        (root / "later").mkdir()

    @staticmethod
    def after(root: Path) -> None:
        os.setxattr(root / "changing", "user.note", b"new")
        os.removexattr(root / "losing", "user.note")
        os.setxattr(root / "later", "user.note", b"\xfe")
        later = shutil.copy("/usr/bin/true", root / "later" / "ping")
        os.setxattr(later, "security.capability", CAPABILITY)


class Modes:
    """Set-id and sticky bits, closed modes, owners beyond what ustar can count."""

    @staticmethod
    def before(root: Path) -> None:
        for number, mode in enumerate((0o4755, 0o2755, 0o6711, 0o1644, 0o000, 0o777)):
            write(root / f"file{number}").chmod(mode)
            (root / f"dir{number}").mkdir()
            (root / f"dir{number}").chmod(mode)
        os.chown(write(root / "far"), 2**21 + 1, 4_000_000_000)
        (root / "link").symlink_to("far")
        os.chown(root / "link", 2**21, 7, follow_symlinks=False)
        os.chown(write(root / "setuid-of-other"), 33, 33)
        (root / "setuid-of-other").chmod(0o4755)

    @staticmethod
    def after(root: Path) -> None:
        (root / "file5").chmod(0o400)
        (root / "dir5").chmod(0o1777)
        os.chown(root / "dir4", 5, 6)


class Removals:
    """Files, empty and full directories that go away; directories that are replaced."""

    @staticmethod
    def before(root: Path) -> None:
        for name in ("file", "dir/a", "dir/b/c", "kept/file", "kept/other", "replaced/one"):
            write(root / name)
        for name in ("replaced/two", "replaced/sub/three", "emptied/a", "emptied/b", "same/a"):
            write(root / name)
        write(root / "same" / "b")
        (root / "empty-dir").mkdir()
        (root / "link").symlink_to("file")
        os.mkfifo(root / "fifo")

    @staticmethod
    def after(root: Path) -> None:
        for name in ("file", "dir", "kept/file", "empty-dir", "replaced", "link", "fifo", "same"):
            remove(root / name)
        for name in ("a", "b"):
            remove(root / "emptied" / name)
        write(root / "replaced" / "!new")
        write(root / "replaced" / "sub-new" / "x")
        write(root / "same" / "a", b"another")


class Types:
    """Every kind of entry that becomes every other kind."""

    kinds = ("file", "dir", "link", "fifo", "device")

    @classmethod
    def before(cls, root: Path) -> None:
        write(root / "elsewhere" / "dir" / "below" / "untouched")
        for old, new in itertools.permutations(cls.kinds, 2):
            make(root / f"{old}-{new}", old)

    @classmethod
    def after(cls, root: Path) -> None:
        for old, new in itertools.permutations(cls.kinds, 2):
            remove(root / f"{old}-{new}")
            make(root / f"{old}-{new}", new)


class Names:
    """Long names, names that are not UTF-8, and whatever else a filesystem takes."""

    @staticmethod
    def before(root: Path) -> None:
        top = os.fsencode(root)
        for name in (
            b"\xff\xfe",
            b"caf\xc3\xa9",
            b"new\nline",
            b" blank ",
            b"-dash",
            b"a\\b",
            b"%",
        ):
            with open(os.path.join(top, name), "wb") as stream:
                stream.write(name)
        os.mkdir(os.path.join(top, b"d\xe9"))
        os.symlink(b"\xff-target", os.path.join(top, b"d\xe9", b"link\xff"))
        os.link(os.path.join(top, b"\xff\xfe"), os.path.join(top, b"hard\xfd"))
        write(root / ("n" * 101))
        write(root / ("n" * 255))
        deep = root.joinpath(*["d" * 90] * 4)
        write(deep / "deep")
        write(root / ("p" * 120) / ("s" * 90))
        (root / "long-link").symlink_to("t" * 300)
        os.link(deep / "deep", root / "to-deep")
        write(root / ("gone" * 30))

    @staticmethod
    def after(root: Path) -> None:
        top = os.fsencode(root)
        os.unlink(os.path.join(top, b"new\nline"))
        os.unlink(os.path.join(top, b"d\xe9", b"link\xff"))
        with open(os.path.join(top, b"\xfa\xfb"), "wb"):
            pass
        (root / ("gone" * 30)).unlink()
        write(root.joinpath(*["d" * 90] * 3) / "new")


class Contents:
    """Empty and sparse files, devices, fifos."""

    @staticmethod
    def before(root: Path) -> None:
        write(root / "empty", b"")
        write(root / "block", bytes(512))
        write(root / "random", os.urandom(700_001))
        for name, where in (("head", 0), ("middle", 3_000_000), ("tail", 8_388_607)):
            with (root / name).open("wb") as stream:
                stream.seek(where)
                stream.write(b"x")
                stream.truncate(8_388_608)
        with (root / "hole").open("wb") as stream:
            stream.truncate(5_000_000)
        os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(root / "loop", stat.S_IFBLK | 0o660, os.makedev(7, 300))
        os.mkfifo(root / "fifo", 0o620)

    @staticmethod
    def after(root: Path) -> None:
        write(root / "random", b"")
        write(root / "empty", b"filled")
        with (root / "hole").open("r+b") as stream:
            stream.seek(2_000_000)
            stream.write(b"data")
        (root / "null").unlink()
        os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 5))


CASES = [Links, Attributes, Modes, Removals, Types, Names, Contents]


@pytest.mark.parametrize("case", CASES)
def test_other_tools_unpack_the_same_tree(
    case: Case, kiln: Kiln, unpack: Unpack, describe: Callable[[Path], Tree]
) -> None:
    case.before(kiln.root)
    first = kiln.capture()
    case.after(kiln.root)
    second = kiln.capture()
    assert kiln.capture() is None
    assert unpack(kiln, kiln.image([first, second])) == describe(kiln.root)


@pytest.fixture
def overlay(kiln: Kiln) -> Iterator[Callable[[], None]]:
    """Give a function that mounts a writable layer over the root, as an engine does."""
    top = kiln.root.parent

    def mount() -> None:
        for name in ("upper", "work"):
            (top / name).mkdir()
        options = f"lowerdir={kiln.root},upperdir={top}/upper,workdir={top}/work"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", kiln.root], check=True)

    yield mount
    subprocess.run(["umount", kiln.root], check=True)


@pytest.mark.parametrize("case", CASES)
def test_what_changed_on_a_union_filesystem_is_captured(
    case: Case,
    kiln: Kiln,
    overlay: Callable[[], None],
    tmp_path: Path,
    describe: Callable[[Path], Tree],
) -> None:
    case.before(kiln.root)
    first = kiln.capture()
    overlay()
    kiln.snapshot()
    assert kiln.capture() is None
    case.after(kiln.root)
    kiln.image([first, kiln.capture()])
    unpack = ["umoci", "unpack", "--image", f"{kiln.layout.root}:tree", f"{tmp_path}/bundle"]
    subprocess.run(unpack, check=True)
    assert describe(tmp_path / "bundle" / "rootfs") == describe(kiln.root)


def test_what_is_mounted_below_a_directory_is_not_seen(kiln: Kiln) -> None:
    (kiln.root / "data").mkdir()
    (kiln.root / "file").write_text("below the mount")
    outside = kiln.root.parent / "outside"
    outside.mkdir()
    (outside / "seen").write_text("x")
    binds = [(outside, kiln.root / "data"), (outside / "seen", kiln.root / "file")]
    kiln.snapshot()
    for source, target in binds:
        subprocess.run(["mount", "--bind", source, target], check=True)
    try:
        (kiln.root / "data" / "new").write_text("x")
        assert kiln.capture() is None
    finally:
        for _source, target in binds:
            subprocess.run(["umount", target], check=True)


def test_the_mode_of_the_root_itself_is_kept(kiln: Kiln, tmp_path: Path) -> None:
    write(kiln.root / "file")
    first = kiln.capture()
    kiln.root.chmod(0o711)
    kiln.image([first, kiln.capture()])
    unpack = ["umoci", "unpack", "--image", f"{kiln.layout.root}:tree", f"{tmp_path}/bundle"]
    subprocess.run(unpack, check=True)
    assert stat.S_IMODE((tmp_path / "bundle" / "rootfs").stat().st_mode) == 0o711
