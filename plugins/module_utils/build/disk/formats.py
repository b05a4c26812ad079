# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A raw disk in the formats that hypervisors and clouds take."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence

from ...core.errors import DriverError
from .assembly import DISK, Assembled
from .identity import Identity
from .slots import FORMAT, PARTS
from .workbench import Workbench

MEDIA_TYPES = {
    "raw": "application/vnd.kiln.disk.raw",
    "qcow2": "application/vnd.kiln.disk.qcow2",
    "vmdk": "application/vnd.kiln.disk.vmdk",
    "vhd": "application/vnd.kiln.disk.vhd",
    "tar.gz": "application/vnd.kiln.disk.raw.tar+gzip",
    "root": "application/vnd.kiln.disk.root",
    "verity": "application/vnd.kiln.disk.verity",
    "efi": "application/vnd.kiln.disk.efi",
}

_CONTENT_ID = re.compile(rb"(?<=\nCID=)[0-9a-f]{1,8}(?=\n)")
_VMDK_HEAD = 64 << 10
_VHD_EPOCH = 946_684_800
# Who reads a VHD tells by the program that made it whether its size or its geometry, which is less,
# is what counts. Of those of which it is the size, this is the one that `force_size` stands for.
_VHD_CREATOR = b"qem2"


def write_format(bench: Workbench, made: Assembled, form: str, *, packed: bool) -> Iterator[bytes]:
    """Give the disk in the format *form*, one of MEDIA_TYPES, piece by piece.

    :param packed: whether its file system is compressed already: then formats that need not
        compress do not.
    """
    if form == "raw":
        return bench.read(DISK)
    if form in PARTS:
        return bench.read(PARTS[form])
    if form == "vhd":
        return _vhd(bench, made)
    if form == "qcow2":
        squeeze = () if packed else ("-c", "-o", "compression_type=zstd")
        _convert(bench, "qcow2", "disk.qcow2", *squeeze)
        return bench.read("disk.qcow2")
    if form == "vmdk":
        return _vmdk(bench, made)
    return _google(bench)


def written_forms(formats: Sequence[str]) -> tuple[str, ...]:
    """Return the forms that *formats* of a definition are written in; one of them is of parts."""
    return tuple(form for asked in formats for form in (PARTS if asked == FORMAT else (asked,)))


def _convert(bench: Workbench, form: str, name: str, *options: str) -> None:
    # One piece after the other: side by side they would be written in the order they were ready.
    bench.run("qemu-img", "convert", "-m", "1", "-f", "raw", "-O", form, *options, DISK, name)


def _vmdk(bench: Workbench, made: Assembled) -> Iterator[bytes]:
    """Stream-optimised, as ESXi and AWS import it; its content id is a random number otherwise."""
    _convert(bench, "vmdk", "disk.vmdk", "-o", "subformat=streamOptimized")
    head = b""
    placed = False
    content_id = Identity(str(made.table.id)).volume_id("vmdk").encode()
    for chunk in bench.read("disk.vmdk"):
        if placed:
            yield chunk
            continue
        head += chunk
        if len(head) >= _VMDK_HEAD:
            placed = True
            yield with_content_id(head, content_id)
    if not placed:
        yield with_content_id(head, content_id)


def with_content_id(head: bytes, content_id: bytes) -> bytes:
    """Return the beginning of a VMDK with another content id in its description. Pure.

    :param content_id: eight hexadecimal digits; what is there may have fewer, and nothing behind
        the description moves.
    """
    found = _CONTENT_ID.search(head)
    if found is None:
        raise DriverError("qemu-img wrote a VMDK without a content id.")
    end = head.index(b"\0", found.end())
    room = len(content_id) - len(found.group())
    if head[end : end + room].strip(b"\0"):
        raise DriverError("The description in qemu-img's VMDK has no room for a content id.")
    return head[: found.start()] + content_id + head[found.end() : end] + head[end + room :]


def _google(bench: Workbench) -> Iterator[bytes]:
    """A sparse tar of ``disk.raw`` as Compute Engine takes it."""
    pack = ["tar", "--create", "--sparse", "--format=oldgnu", "--owner=0", "--group=0"]
    pack += ["--numeric-owner", "--mode=0644", f"--mtime=@{bench.epoch}", "--file=disk.tar", DISK]
    bench.run(*pack)
    bench.run("gzip", "--no-name", "-1", "disk.tar")
    return bench.read("disk.tar.gz")


def _vhd(bench: Workbench, made: Assembled) -> Iterator[bytes]:
    """Of fixed size, as Azure wants it: the raw disk, and a footer."""
    yield from bench.read(DISK)
    yield vhd_footer(made.table.size, Identity(str(made.table.id)).uuid("vhd").bytes, bench.epoch)


def vhd_footer(size: int, unique: bytes, epoch: int) -> bytes:
    """Return the 512 bytes behind a fixed disk (Virtual Hard Disk Image Format, 1.0). Pure.

    :param unique: its 16 bytes of identity.
    """
    cylinders, heads, sectors = _geometry(size // 512)
    fields = [
        b"conectix",
        struct.pack(">IIQ", 2, 0x00010000, 0xFFFFFFFFFFFFFFFF),
        struct.pack(">I", max(0, epoch - _VHD_EPOCH)),
        _VHD_CREATOR,
        struct.pack(">I", 0x00010000),
        b"Wi2k",
        struct.pack(">QQ", size, size),
        struct.pack(">HBB", cylinders, heads, sectors),
        struct.pack(">I", 2),
    ]
    before, after = b"".join(fields), unique + b"\0"
    rest = bytes(512 - len(before) - 4 - len(after))
    checksum = ~sum(before + after + rest) & 0xFFFFFFFF
    return before + struct.pack(">I", checksum) + after + rest


def _geometry(total: int) -> tuple[int, int, int]:
    """Return cylinders, heads and sectors of a track, by the appendix of the specification."""
    total = min(total, 65535 * 16 * 255)
    if total >= 65535 * 16 * 63:
        return total // 255 // 16, 16, 255
    sectors = 17
    tracks = total // sectors
    heads = max(4, (tracks + 1023) // 1024)
    if tracks >= heads * 1024 or heads > 16:
        sectors, heads = 31, 16
        tracks = total // sectors
    if tracks >= heads * 1024:
        sectors, heads = 63, 16
        tracks = total // sectors
    return tracks // heads, heads, sectors
