# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any root filesystem tar, brought into the normal form that our layers have."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, cast

from ..core.errors import DriverError
from . import capture
from .capture import CaptureError, Entry, shown

_XATTR = "SCHILY.xattr."
_KINDS = {
    tarfile.REGTYPE: capture.FILE,
    tarfile.AREGTYPE: capture.FILE,
    tarfile.CONTTYPE: capture.FILE,
    tarfile.GNUTYPE_SPARSE: capture.FILE,
    tarfile.LNKTYPE: capture.HARD_LINK,
    tarfile.SYMTYPE: capture.SYMLINK,
    tarfile.CHRTYPE: capture.CHAR_DEVICE,
    tarfile.BLKTYPE: capture.BLOCK_DEVICE,
    tarfile.DIRTYPE: capture.DIRECTORY,
    tarfile.FIFOTYPE: capture.FIFO,
}


def normalise_tar(
    source: BinaryIO,
    *,
    epoch: int,
    drop: Callable[[str], bool],
    empty: Container[str] = (),
) -> Iterator[bytes]:
    """Yield the normal form of the tar in *source*, the one that the capture program writes.

    Names are sorted and relative, owners are numbers, modification times are clamped, hard links
    point to the first name of their file, directories that the tar only implies are there (0755,
    of root), and PAX headers appear only where ustar does not suffice. Equal trees give equal
    bytes, in whatever order their entries come. Of entries with the same name the last counts.

    :param source: an archive as it is or compressed with gzip, bzip2, xz, or zstd where this
        Python has it. When it is compressed or cannot seek it is unpacked to a temporary file.
    :param epoch: the latest modification time, seconds since the epoch.
    :param drop: says of a name, such as ``var/log/dpkg.log``, that it is left out; with a
        directory goes what is below it.
    :param empty: names of files that keep their metadata but lose their content.

    Raises DriverError, naming the entry, for one that leaves the root, that is of a kind that a
    layer cannot hold, or that lies below something that is no directory; and for what is no
    whole tar archive.
    """
    try:
        with ExitStack() as stack:
            plain = _plain(source, stack)
            archive = stack.enter_context(
                tarfile.open(fileobj=plain, mode="r:", encoding="utf-8", errors="surrogateescape")
            )
            for member in _resolved(_kept(_read_members(archive), drop)):
                yield from _written(archive, member, epoch, empty)
            yield capture.END_OF_TAR
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DriverError(f"The root filesystem is not a whole tar archive: {error}.") from error
    except CaptureError as error:
        raise DriverError(f"The root filesystem cannot be a layer: {error}") from error


@dataclass(frozen=True, slots=True)
class _Member:
    """A name in the archive.

    :param info: what the archive says of it, or of the file that it is a hard link to; None for
        a directory that is only implied.
    :param group: all kept names of its file, in order; empty when it has only one.
    """

    name: bytes
    kind: bytes
    info: tarfile.TarInfo | None = None
    group: tuple[bytes, ...] = ()


def _plain(source: BinaryIO, stack: ExitStack) -> BinaryIO:
    """Return *source* uncompressed, as a file that can seek."""
    if not source.seekable():
        source = _spooled(source, stack)
    start = source.read(6)
    source.seek(-len(start), os.SEEK_CUR)
    if start.startswith(b"\x1f\x8b"):
        return _spooled(gzip.open(source), stack)
    if start.startswith(b"\xfd7zXZ\0"):
        return _spooled(lzma.open(source), stack)
    if start.startswith(b"BZh"):
        return _spooled(bz2.open(source), stack)
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        try:
            zstd = importlib.import_module("compression.zstd")
        except ModuleNotFoundError as error:
            raise DriverError(
                "The root filesystem is compressed with zstd, which this Python cannot read.",
                hint="Uncompress it with zstd -d, or compress it with gzip or xz.",
            ) from error
        return _spooled(zstd.open(source), stack)
    return source


def _spooled(stream: object, stack: ExitStack) -> BinaryIO:
    spool = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    shutil.copyfileobj(cast(BinaryIO, stream), spool, capture.READ_BYTES)
    spool.seek(0)
    return cast(BinaryIO, spool)


def _read_members(archive: tarfile.TarFile) -> dict[bytes, _Member]:
    """Return the entries by name, with the directories that they imply, in our order."""
    members = {}
    for info in archive:
        name = _name(info.name, "The entry")
        capture.refuse_whiteout(name)
        kind = _KINDS.get(info.type)
        if kind is None:
            raise DriverError(
                f"{shown(name)} in the root filesystem is of tar type {info.type!r}, which a"
                " layer cannot hold."
            )
        members[name] = _Member(name, kind, info)
    for name in list(members):
        parent = name.rpartition(b"/")[0]
        while parent:
            found = members.setdefault(parent, _Member(parent, capture.DIRECTORY))
            if found.kind != capture.DIRECTORY:
                raise DriverError(
                    f"{shown(name)} in the root filesystem lies below {shown(parent)}, which is"
                    " no directory."
                )
            parent = parent.rpartition(b"/")[0]
    return {name: members[name] for name in sorted(members, key=capture.order)}


def _name(text: str, what: str) -> bytes:
    name = text.encode("utf-8", "surrogateescape")
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if name.startswith(b"/") or b".." in parts:
        raise DriverError(
            f"{what} {shown(name)} leaves the root filesystem.",
            hint="Names in it must be relative, without .. in them.",
        )
    return b"/".join(parts)


def _kept(members: Mapping[bytes, _Member], drop: Callable[[str], bool]) -> dict[bytes, _Member]:
    """Return the members that stay, each hard link made a file that knows its other names."""
    dropped: set[bytes] = set()
    files: dict[bytes, list[bytes]] = {}
    kept = {}
    for name, member in members.items():
        if name.rpartition(b"/")[0] in dropped or drop(name.decode("utf-8", "surrogateescape")):
            if name:
                dropped.add(name)
            continue
        origin = _origin(member, members)
        kept[name] = _Member(name, origin.kind, origin.info)
        if origin.kind == capture.FILE:
            files.setdefault(origin.name, []).append(name)
    for group in files.values():
        for name in group if len(group) > 1 else ():
            kept[name] = _Member(name, capture.FILE, kept[name].info, tuple(group))
    return kept


def _origin(member: _Member, members: Mapping[bytes, _Member]) -> _Member:
    """Return what a hard link leads to; any other member is its own origin."""
    seen = {member.name}
    found = member
    while found.kind == capture.HARD_LINK and found.info is not None:
        target = _name(found.info.linkname, f"The hard link {shown(found.name)} to")
        if target not in members or target in seen:
            raise DriverError(
                f"{shown(member.name)} in the root filesystem is a hard link to"
                f" {shown(target)}, which is no file in it."
            )
        seen.add(target)
        found = members[target]
    return found


def _resolved(members: Mapping[bytes, _Member]) -> Iterator[_Member]:
    for member in members.values():
        if member.group and member.name != member.group[0]:
            yield _Member(member.name, capture.HARD_LINK, member.info, member.group)
        else:
            yield member


def _written(
    archive: tarfile.TarFile, member: _Member, epoch: int, empty: Container[str]
) -> Iterator[bytes]:
    info = member.info
    if info is None:
        yield Entry(member.name, capture.DIRECTORY, 0o755, 0, 0, epoch).header()
        return
    names = member.group or (member.name,)
    emptied = any(name.decode("utf-8", "surrogateescape") in empty for name in names)
    size = info.size if member.kind == capture.FILE and not emptied else 0
    device = member.kind in (capture.CHAR_DEVICE, capture.BLOCK_DEVICE)
    link = b""
    if member.kind == capture.SYMLINK:
        link = info.linkname.encode("utf-8", "surrogateescape")
    elif member.kind == capture.HARD_LINK:
        link = member.group[0]
    yield Entry(
        member.name,
        member.kind,
        info.mode & 0o7777,
        info.uid,
        info.gid,
        capture.clamp(info.mtime, epoch),
        size,
        link,
        info.devmajor if device else 0,
        info.devminor if device else 0,
        _xattrs(info),
    ).header()
    if size:
        yield from _content(archive, info)
        yield capture.padding(size)


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    left = info.size
    stream = archive.extractfile(info)
    while left and stream is not None:
        content = stream.read(min(left, capture.READ_BYTES))
        if not content:
            raise tarfile.ReadError(f"it ends within {info.name!r}")
        yield content
        left -= len(content)


def _xattrs(info: tarfile.TarInfo) -> dict[bytes, bytes]:
    found = {
        key.removeprefix(_XATTR).encode("utf-8", "surrogateescape"): value
        for key, value in info.pax_headers.items()
        if key.startswith(_XATTR)
    }
    return {
        name: value.encode("utf-8", "surrogateescape")
        for name, value in found.items()
        if capture.kept_xattr(name)
    }
