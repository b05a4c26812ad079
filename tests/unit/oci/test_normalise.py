# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any tar of a root, in the one form."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Container
from typing import BinaryIO

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.normalise import normalise_tar
from hypothesis import given, settings
from hypothesis import strategies as st

EPOCH = 1_700_000_000


def keep_all(_name: str) -> bool:
    return False


def normalised(
    content: bytes | BinaryIO,
    *,
    drop: Callable[[str], bool] = keep_all,
    empty: Container[str] = (),
) -> bytes:
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    return b"".join(normalise_tar(source, epoch=EPOCH, drop=drop, empty=empty))


def entry(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def directory(name: str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    made = entry(name, mode=mode)
    made[0].type = tarfile.DIRTYPE
    return made


def link(name: str, target: str, kind: bytes = tarfile.LNKTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=kind, linkname=target)


def tar(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=form, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def read(content: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(
        fileobj=io.BytesIO(content), encoding="utf-8", errors="surrogateescape"
    ) as archive:
        return archive.getmembers()


def names(content: bytes) -> list[str]:
    return [info.name for info in read(content)]


def test_names_are_relative_and_a_directory_precedes_what_is_below_it() -> None:
    given_names = ["./b", "./a-c", "./a/x", "./a/x.y/z", "./a/x.y", "./a", "."]
    entries = [directory(n) if n in (".", "./a", "./a/x.y") else entry(n) for n in given_names]
    assert names(normalised(tar(*entries))) == [".", "a", "a/x", "a/x.y", "a/x.y/z", "a-c", "b"]


def test_owners_are_numbers_and_times_are_clamped() -> None:
    (late, early) = read(
        normalised(
            tar(
                entry("a", uname="root", gname="adm", uid=7, gid=8, mtime=EPOCH + 5.5, mode=0o4755),
                entry("b", mtime=12.75),
            )
        )
    )
    assert (late.uname, late.gname, late.uid, late.gid) == ("", "", 7, 8)
    assert (late.mtime, early.mtime) == (EPOCH, 12)
    assert late.mode == 0o4755
    assert late.pax_headers == {}


def test_what_ustar_cannot_say_goes_into_a_pax_header() -> None:
    values = {
        "SCHILY.xattr.user.note": "x\udcff\0y\n",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.security.selinux": "label",
        "comment": "nothing of the tree",
    }
    deep = "/".join(["d" * 90] * 4)
    out = normalised(
        tar(entry("big", uid=3_000_000, pax_headers=values), entry(deep), entry("n\udcff\u00e9"))
    )
    found = {info.name: info for info in read(out)}
    assert found["big"].uid == 3_000_000
    kept = {k: v for k, v in found["big"].pax_headers.items() if k.startswith("SCHILY")}
    assert kept == {"SCHILY.xattr.user.note": "x\udcff\0y\n"}
    assert found[deep].pax_headers == {"path": deep}
    assert found["n\udcff\u00e9"].pax_headers["hdrcharset"] == "BINARY"


def test_a_long_name_that_ustar_can_split_needs_no_pax_header() -> None:
    name = "p" * 120 + "/" + "n" * 99
    (_parent, found) = read(normalised(tar(directory("p" * 120), entry(name))))
    assert found.name == name
    assert found.pax_headers == {}


def test_hard_links_point_to_the_first_name() -> None:
    out = normalised(tar(entry("z", b"content", mode=0o600), link("./m", "./z"), link("a", "m")))
    first, *others = read(out)
    assert (first.name, first.type, first.size, first.mode) == ("a", tarfile.REGTYPE, 7, 0o600)
    assert [(i.name, i.type, i.linkname) for i in others] == [
        ("m", tarfile.LNKTYPE, "a"),
        ("z", tarfile.LNKTYPE, "a"),
    ]


def test_a_hard_link_whose_first_name_is_dropped_keeps_the_content() -> None:
    out = normalised(tar(entry("a", b"content"), link("b", "a")), drop="a".__eq__)
    (found,) = read(out)
    assert (found.name, found.type, found.size) == ("b", tarfile.REGTYPE, 7)


def test_a_directory_that_is_dropped_takes_what_is_below_it() -> None:
    content = tar(directory("var"), directory("var/log"), entry("var/log/x"), entry("var/logs"))
    assert names(normalised(content, drop="var/log".__eq__)) == ["var", "var/logs"]


def test_a_file_that_is_emptied_keeps_its_metadata() -> None:
    content = tar(entry("etc/machine-id", b"0123", mode=0o444), entry("etc/x", b"x"))
    found = {info.name: info for info in read(normalised(content, empty={"etc/machine-id"}))}
    assert (found["etc/machine-id"].size, found["etc/machine-id"].mode) == (0, 0o444)
    assert found["etc/x"].size == 1


def test_directories_that_are_only_implied_are_there() -> None:
    parent, _file = read(normalised(tar(entry("a/b", mtime=5))))
    assert (parent.name, parent.type, parent.mode) == ("a", tarfile.DIRTYPE, 0o755)


def test_of_two_entries_with_one_name_the_last_counts() -> None:
    (found,) = read(normalised(tar(entry("a", b"1"), entry("./a", b"22"))))
    assert found.size == 2


def test_device_nodes_and_fifos_are_kept() -> None:
    null = entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    disk = entry("disk", type=tarfile.BLKTYPE, devmajor=259, devminor=1)
    fifo = entry("fifo", type=tarfile.FIFOTYPE)
    found = {info.name: info for info in read(normalised(tar(null, disk, fifo)))}
    assert (found["null"].type, found["null"].devmajor, found["null"].devminor) == (b"3", 1, 3)
    assert (found["disk"].type, found["disk"].devmajor, found["disk"].devminor) == (b"4", 259, 1)
    assert found["fifo"].type == tarfile.FIFOTYPE


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (entry("/etc/passwd"), "/etc/passwd leaves"),
        (entry("a/../../b"), "a/../../b leaves"),
        (link("a", "../shadow"), "hard link a to ../shadow leaves"),
        (link("a", "nothing"), "a .* hard link to nothing, which is no file"),
        (link("a", "a"), "a .* hard link to a, which is no file"),
        (entry("etc/.wh.passwd"), "etc/.wh.passwd cannot be in a layer"),
        (entry("odd", type=b"Z"), "odd .* is of tar type"),
    ],
)
def test_what_a_layer_cannot_hold_is_refused_by_name(
    wrong: tuple[tarfile.TarInfo, bytes], said: str
) -> None:
    with pytest.raises(DriverError, match=said):
        normalised(tar(entry("ok"), wrong))


def test_an_entry_below_a_symbolic_link_is_refused() -> None:
    content = tar(link("etc", "/", tarfile.SYMTYPE), entry("etc/passwd"))
    with pytest.raises(DriverError, match=r"etc/passwd .* lies below etc, which is no directory"):
        normalised(content)


@pytest.mark.parametrize(
    "content", [b"", b"no tar", gzip.compress(b"no tar", mtime=0), b"\x1f\x8bx"]
)
def test_what_is_no_tar_is_refused(content: bytes) -> None:
    with pytest.raises(DriverError, match="not a whole tar archive"):
        normalised(content)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress, bz2.compress])
def test_a_tar_that_is_cut_off_is_refused(compress: Callable[[bytes], bytes]) -> None:
    content = compress(tar(entry("a", bytes(range(256)) * 40)))
    with pytest.raises(DriverError, match="not a whole tar archive"):
        normalised(content[: len(content) // 3])


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, bz2.compress])
def test_compression_does_not_show(compress: Callable[[bytes], bytes]) -> None:
    content = tar(entry("a", b"content"), entry("b"))
    assert normalised(compress(content)) == normalised(content)


def test_a_source_that_cannot_seek_is_read_too() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_arguments: object) -> int:
            raise io.UnsupportedOperation

    content = tar(entry("a", b"content"))
    assert normalised(Pipe(content)) == normalised(Pipe(gzip.compress(content)))


tree_names: st.SearchStrategy[list[str]] = st.lists(
    st.lists(
        st.sampled_from(["a", "b", "a-b", "\u00e9", "\udcff", "n" * 60]), min_size=1, max_size=4
    ),
    max_size=12,
).map(lambda lists: sorted({"/".join(parts) for parts in lists}))


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[tarfile.TarInfo, bytes]]:
    found = draw(tree_names)
    entries = []
    files: list[str] = []
    for name in found:
        mode = draw(st.integers(0, 0o7777))
        if any(other.startswith(name + "/") for other in found):
            entries.append(directory(name, mode=mode))
        elif files and draw(st.sampled_from([True, False])):
            entries.append(link(name, draw(st.sampled_from(files))))
        else:
            note = draw(st.sampled_from(["", "x", "\udcfe"]))
            xattrs = {"SCHILY.xattr.user.note": note} if note else {}
            content = draw(st.binary(max_size=600))
            uid = draw(st.sampled_from([0, 33, 5_000_000]))
            entries.append(entry(name, content, mode=mode, uid=uid, mtime=mode, pax_headers=xattrs))
            files.append(name)
    return entries


@settings(deadline=None)
@given(trees())
def test_the_normal_form_of_a_normal_form_is_itself(
    entries: list[tuple[tarfile.TarInfo, bytes]],
) -> None:
    once = normalised(tar(*entries))
    assert normalised(once) == once


@settings(deadline=None)
@given(st.data(), trees())
def test_the_order_of_the_entries_does_not_matter(
    data: st.DataObject, entries: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    shuffled = data.draw(st.permutations(entries))
    assert normalised(tar(*shuffled)) == normalised(tar(*entries))


@settings(deadline=None)
@given(trees())
def test_the_format_of_the_archive_does_not_matter(
    entries: list[tuple[tarfile.TarInfo, bytes]],
) -> None:
    for info, _content in entries:
        info.pax_headers = {}
    gnu = normalised(tar(*entries, form=tarfile.GNU_FORMAT))
    assert gnu == normalised(tar(*entries))
