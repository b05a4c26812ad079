# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capturing a tree: what differs is there, what does not is not."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.oci import capture
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import CAPTURE_SOURCE

EPOCH = 1_700_000_000


class Workshop:
    """A root and its snapshot."""

    def __init__(self, top: Path) -> None:
        self.root = top / "root"
        self.state = top / "state"
        self.root.mkdir()

    def write(self, name: str, content: str = "content") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def snapshot(self, patterns: Sequence[str] = ()) -> None:
        capture.take_snapshot(os.fsencode(self.root), os.fsencode(self.state), patterns)

    def tar(self) -> bytes:
        out = io.BytesIO()
        capture.capture_layer(os.fsencode(self.root), os.fsencode(self.state), EPOCH, out)
        return out.getvalue()

    def members(self) -> dict[str, tarfile.TarInfo]:
        with tarfile.open(fileobj=io.BytesIO(self.tar()), errors="surrogateescape") as archive:
            return {info.name: info for info in archive}

    def changed(self) -> list[str]:
        return list(self.members())


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    made = Workshop(tmp_path)
    for name in ("etc/one", "etc/two", "usr/bin/tool", "var/log/old"):
        made.write(name)
    (made.root / "link").symlink_to("etc/one")
    return made


Change = Callable[[Path], object]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda root: None, []),
        (lambda root: (root / "etc/one").read_text(), []),
        (lambda root: os.utime(root / "etc", (1, 1)), []),
        (lambda root: (root / "etc/new").write_text("x"), ["etc", "etc/new"]),
        (lambda root: (root / "etc/one").write_text("changed"), ["etc", "etc/one"]),
        (lambda root: (root / "etc/one").write_text("CONTENT"), ["etc", "etc/one"]),
        (lambda root: (root / "etc/one").chmod(0o600), ["etc", "etc/one"]),
        (lambda root: (root / "etc").chmod(0o700), ["etc"]),
        (lambda root: root.chmod(0o700), ["."]),
        (lambda root: (root / "etc/one").unlink(), ["etc", "etc/.wh.one"]),
        (lambda root: shutil.rmtree(root / "usr/bin"), ["usr", "usr/.wh.bin"]),
        (lambda root: shutil.rmtree(root / "usr"), [".wh.usr"]),
        (lambda root: (root / "empty").mkdir(), ["empty"]),
        (
            lambda root: (root / "etc/one").rename(root / "etc/three"),
            ["etc", "etc/.wh.one", "etc/three"],
        ),
    ],
)
def test_only_what_changed_is_written(
    workshop: Workshop, change: Change, expected: list[str]
) -> None:
    workshop.snapshot()
    change(workshop.root)
    assert workshop.changed() == expected


def test_a_capture_is_the_next_snapshot(workshop: Workshop) -> None:
    workshop.snapshot()
    workshop.write("etc/new")
    assert workshop.changed() == ["etc", "etc/new"]
    assert workshop.tar() == capture.END_OF_TAR


def test_a_directory_that_was_emptied_is_opaque_before_its_new_content(
    workshop: Workshop,
) -> None:
    workshop.snapshot()
    shutil.rmtree(workshop.root / "etc")
    for name in ("etc/!first", "etc/sub/below", "etc/zlast"):
        workshop.write(name)
    assert workshop.changed() == [
        "etc",
        "etc/.wh..wh..opq",
        "etc/!first",
        "etc/sub",
        "etc/sub/below",
        "etc/zlast",
    ]


def test_a_directory_that_hides_something_is_never_opaque(workshop: Workshop) -> None:
    workshop.write("etc/hidden")
    workshop.snapshot(["etc/hidden"])
    (workshop.root / "etc/one").unlink()
    (workshop.root / "etc/two").unlink()
    assert workshop.changed() == ["etc", "etc/.wh.one", "etc/.wh.two"]


def test_excluded_paths_are_neither_written_nor_missed(workshop: Workshop) -> None:
    workshop.write("cache/keep")
    workshop.snapshot(["var/log", "/cache/[ab]*", "*.pyc"])
    workshop.write("var/log/new")
    workshop.write("var/lib/x.pyc")
    workshop.write("cache/b")
    (workshop.root / "cache/keep").unlink()
    assert workshop.changed() == ["cache", "cache/.wh.keep", "var", "var/lib"]
    (workshop.root / "cache/b").unlink()
    assert workshop.changed() == []


def test_an_excluded_path_of_the_base_is_whited_out_when_it_goes(workshop: Workshop) -> None:
    key = workshop.write("etc/ssh/host_key", "of the base")
    workshop.write("etc/ssh/other_key")
    workshop.snapshot(["etc/ssh/*_key"])
    key.write_text("of this bake")
    assert workshop.changed() == []
    key.unlink()
    assert workshop.changed() == ["etc", "etc/ssh", "etc/ssh/.wh.host_key"]
    key.write_text("once more")
    key.unlink()
    assert workshop.changed() == []


@pytest.mark.parametrize("before", ["file", "dir", "symlink", "fifo"])
@pytest.mark.parametrize("after", ["file", "dir", "symlink", "fifo"])
def test_a_change_of_type_needs_no_whiteout(workshop: Workshop, before: str, after: str) -> None:
    def make(kind: str) -> None:
        path = workshop.root / "it"
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if kind == "file":
            path.write_text("x")
        elif kind == "dir":
            path.mkdir()
            (path / after).write_text("below")
        elif kind == "symlink":
            path.symlink_to("etc")
        else:
            os.mkfifo(path)

    make("file" if before == after else before)
    workshop.snapshot()
    make(after)
    if before == after == "file":
        workshop.write("it", "longer")
    members = workshop.members()
    kinds = {"file": b"0", "dir": b"5", "symlink": b"2", "fifo": b"6"}
    assert members.pop("it").type == kinds[after]
    assert list(members) == (["it/dir"] if after == "dir" else [])


def test_a_new_link_to_an_old_file_writes_the_file_once(workshop: Workshop) -> None:
    workshop.snapshot()
    os.link(workshop.root / "etc/one", workshop.root / "bin")
    members = workshop.members()
    assert list(members) == ["bin", "etc", "etc/one"]
    assert (members["bin"].type, members["bin"].size) == (tarfile.REGTYPE, 7)
    assert (members["etc/one"].type, members["etc/one"].linkname) == (tarfile.LNKTYPE, "bin")


def test_a_change_through_one_link_writes_all_of_them(workshop: Workshop) -> None:
    os.link(workshop.root / "etc/one", workshop.root / "usr/bin/same")
    workshop.snapshot()
    with (workshop.root / "etc/one").open("a") as stream:
        stream.write("more")
    members = workshop.members()
    assert list(members) == ["etc", "etc/one", "usr", "usr/bin", "usr/bin/same"]
    assert members["usr/bin/same"].linkname == "etc/one"


@pytest.mark.parametrize(
    "extents", [[(0, 5)], [(3_000_000, 10)], [(0, 4096), (5_000_001, 4096)], []]
)
def test_holes_are_written_as_zeros(workshop: Workshop, extents: list[tuple[int, int]]) -> None:
    workshop.snapshot()
    path = workshop.write("sparse", "")
    with path.open("r+b") as stream:
        for start, size in extents:
            stream.seek(start)
            stream.write(b"x" * size)
        stream.truncate(7_000_000)
    with tarfile.open(fileobj=io.BytesIO(workshop.tar())) as archive:
        member = archive.extractfile("sparse")
        assert member is not None
        assert member.read() == path.read_bytes()


def test_names_may_be_any_bytes(workshop: Workshop) -> None:
    workshop.snapshot()
    odd = b"\xff \\ \n\xc3\xa9"
    with open(os.path.join(os.fsencode(workshop.root), odd), "wb"):
        pass
    (found,) = workshop.members().values()
    assert os.fsencode(found.name) == odd
    workshop.snapshot()
    os.unlink(os.path.join(os.fsencode(workshop.root), odd))
    assert [os.fsencode(name) for name in workshop.changed()] == [b".wh." + odd]


def test_a_socket_is_invisible_and_the_file_it_replaced_is_gone(workshop: Workshop) -> None:
    workshop.snapshot()
    path = workshop.root / "etc/one"
    path.unlink()
    os.mknod(path, 0o140600)
    os.mknod(workshop.root / "socket", 0o140600)
    assert workshop.changed() == ["etc", "etc/.wh.one"]


def test_equal_trees_give_equal_bytes(tmp_path: Path) -> None:
    tars = []
    for names in (("b", "a/x"), ("a/x", "b")):
        top = tmp_path / names[0].replace("/", "")
        top.mkdir()
        made = Workshop(top)
        made.snapshot()
        for name in names:
            made.write(name)
        tars.append(made.tar())
    assert tars[0] == tars[1]


def test_times_are_clamped(workshop: Workshop) -> None:
    workshop.snapshot()
    os.utime(workshop.write("new"), (1, 5_000_000_000))
    os.utime(workshop.write("old"), (1, 1.9))
    os.utime(workshop.write("older"), (1, -5))
    assert [info.mtime for info in workshop.members().values()] == [EPOCH, 1, 0]


def test_a_file_that_reads_as_a_whiteout_is_refused_by_name(workshop: Workshop) -> None:
    workshop.snapshot()
    workshop.write("etc/.wh.one")
    with pytest.raises(capture.CaptureError, match=r"etc/\.wh\.one cannot be in a layer"):
        workshop.tar()


def test_a_file_that_changed_since_the_walk_is_refused_by_name(workshop: Workshop) -> None:
    workshop.snapshot()
    path = workshop.write("log")
    root = os.fsencode(workshop.root)
    tree = capture.walk(root, [])
    changes = capture.compare(capture.read_snapshot(os.fsencode(workshop.state)), tree)
    with path.open("a") as stream:
        stream.write("more")
    with pytest.raises(capture.CaptureError, match="log changed while it was captured"):
        capture.write_layer(root, tree, changes, EPOCH, io.BytesIO())


def test_a_file_that_changes_while_it_is_read_is_refused_by_name(workshop: Workshop) -> None:
    workshop.snapshot()
    path = workshop.write("log", "x" * 3_000_000)

    class Output(io.BytesIO):
        def writelines(self, chunks: object) -> None:
            for chunk in chunks:  # type: ignore[attr-defined]
                self.write(chunk)
                path.write_text("y" * 3_000_000)

    root, state = os.fsencode(workshop.root), os.fsencode(workshop.state)
    with pytest.raises(capture.CaptureError, match="log changed while it was captured"):
        capture.capture_layer(root, state, EPOCH, Output())


class Program:
    """The program as it runs in a container: its text, in an isolated interpreter."""

    def __init__(self, workshop: Workshop) -> None:
        self.place = [f"--root={workshop.root}", f"--state={workshop.state}"]

    def __call__(self, command: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        argv = [sys.executable, "-I", "-c", CAPTURE_SOURCE, command, *self.place, *arguments]
        return subprocess.run(argv, capture_output=True, check=False, env={"LC_ALL": "C"})


@pytest.fixture
def program(workshop: Workshop) -> Program:
    return Program(workshop)


def test_the_program_ends_with_its_statistics(
    workshop: Workshop, program: Program, tmp_path: Path
) -> None:
    (tmp_path / "patterns.json").write_text('["var/*"]')
    done = program("snapshot", f"--exclude-file={tmp_path}/patterns.json", "--exclude=*.swp")
    assert (done.returncode, done.stdout) == (0, b"")
    assert json.loads(done.stderr)["entries"] == 9
    (workshop.root / "etc/one").unlink()
    for name in ("etc/\u00e9", "etc/x.swp", "var/y"):
        workshop.write(name)
    done = program("capture", f"--epoch={EPOCH}")
    told = json.loads(done.stderr.splitlines()[-1])
    assert told["entries"] == 2
    assert told["whiteouts"] == 1
    assert told["bytes"] == len(done.stdout)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert archive.getnames() == ["etc", "etc/.wh.one", "etc/\u00e9"]


def test_a_capture_that_fails_keeps_the_snapshot_and_says_why(
    workshop: Workshop, program: Program
) -> None:
    program("snapshot")
    bad = workshop.write("etc/.wh.x")
    done = program("capture", f"--epoch={EPOCH}")
    assert done.returncode == 1
    assert done.stderr.startswith(b"etc/.wh.x cannot be in a layer")
    bad.unlink()
    workshop.write("etc/good")
    assert workshop.changed() == ["etc", "etc/good"]


def test_a_capture_needs_a_snapshot(workshop: Workshop, program: Program) -> None:
    done = program("capture", f"--epoch={EPOCH}")
    assert done.returncode == 1
    assert done.stderr.decode() == f"There is no snapshot at {workshop.state}: take one first.\n"
    workshop.state.write_text("{")
    assert b"is damaged" in program("capture", f"--epoch={EPOCH}").stderr


def test_a_root_that_is_not_there_is_named(tmp_path: Path, workshop: Workshop) -> None:
    shutil.rmtree(workshop.root)
    done = Program(workshop)("snapshot")
    assert done.returncode == 1
    assert str(workshop.root).encode() in done.stderr


def test_a_reader_that_goes_away_leaves_the_snapshot(workshop: Workshop, program: Program) -> None:
    program("snapshot")
    before = workshop.state.read_bytes()
    workshop.write("big", "x" * 4_000_000)
    argv = [sys.executable, "-I", "-c", CAPTURE_SOURCE, "capture", *program.place, "--epoch=0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    assert process.returncode == 1
    assert b"Broken pipe" in told
    assert workshop.state.read_bytes() == before


def test_an_attribute_with_an_equals_sign_cannot_be_written() -> None:
    entry = capture.Entry(b"f", capture.FILE, 0, 0, 0, 0, xattrs={b"user.a=b": b""})
    with pytest.raises(capture.CaptureError, match="f has an extended attribute with ="):
        entry.header()


def test_attributes_of_the_host_are_not_kept() -> None:
    host = (b"security.selinux", b"trusted.overlay.opaque", b"user.overlay.origin", b"trusted.x")
    ours = (b"security.capability", b"user.note", b"system.posix_acl_access")
    assert [capture.kept_xattr(name) for name in host + ours] == [False] * 4 + [True] * 3
