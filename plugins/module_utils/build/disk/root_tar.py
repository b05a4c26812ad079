# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root of a disk as one tar: what the layers make together, in an order that repeats."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from ...core.errors import DriverError
from ...oci.listing import EntryType, member_path, members
from ...oci.tree import Tree, TreeEntry

_CHUNK = 1 << 20
_BLOCK = 512
_XATTR = "SCHILY.xattr."
_TYPES = {
    EntryType.DIRECTORY: tarfile.DIRTYPE,
    EntryType.SYMLINK: tarfile.SYMTYPE,
    EntryType.CHAR_DEVICE: tarfile.CHRTYPE,
    EntryType.BLOCK_DEVICE: tarfile.BLKTYPE,
    EntryType.FIFO: tarfile.FIFOTYPE,
}

LeavesOut = Callable[[str], bool]


@dataclass(slots=True)
class Kept:
    """Files whose content is wanted when the tar goes by.

    :param rewritten: what becomes of the content of some of them; those are small.
    """

    paths: Collection[str]
    rewritten: Mapping[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)


def stream_root(tree: Tree, *, leaves_out: LeavesOut, kept: Kept) -> Iterator[bytes]:
    """Yield the tar of *tree*: directories and links first, then files, layer by layer.

    Each layer is read once, and verified by then. When this raises, what was given is void.

    :param leaves_out: says of a path that it is not to be in the tar.
    :param kept: gets the contents of its files, those that are left out too.
    """
    files: dict[int, dict[str, list[TreeEntry]]] = {}
    for path in sorted(tree.entries):
        entry = tree.entries[path]
        if entry.type is EntryType.FILE:
            if not leaves_out(path) or path in kept.paths:
                files.setdefault(entry.layer, {}).setdefault(entry.link or path, []).append(entry)
        elif path and not leaves_out(path):
            yield _header(entry)
    for index in sorted(files):
        yield from _layer(tree, index, files[index], leaves_out, kept)
    yield bytes(2 * _BLOCK)


def root_bytes(tree: Tree, leaves_out: LeavesOut) -> tuple[int, int]:
    """Return how many bytes the files take in blocks of 4 KiB, and how many names there are."""
    seen: set[tuple[int, str]] = set()
    size = names = 0
    for path, entry in tree.entries.items():
        if leaves_out(path):
            continue
        names += 1
        if entry.type is EntryType.FILE:
            first = (entry.layer, entry.link or path)
            size += 0 if first in seen else -(-entry.size // 4096) * 4096
            seen.add(first)
        else:
            size += 4096
    return size, names


def _layer(
    tree: Tree, index: int, wanted: dict[str, list[TreeEntry]], leaves_out: LeavesOut, kept: Kept
) -> Iterator[bytes]:
    layer = tree.layers[index]
    left = dict(wanted)
    for info, archive in members(tree.layout, layer):
        if not info.isreg():
            continue
        entries = left.pop(member_path(info.name), None)
        if entries is None:
            continue
        inside = [entry for entry in entries if not leaves_out(entry.path)]
        keeps = [entry.path for entry in entries if entry.path in kept.paths]
        stream = archive.extractfile(info)
        rewrite = next((kept.rewritten[path] for path in keeps if path in kept.rewritten), None)
        if rewrite is not None and stream is not None:
            text = rewrite(stream.read())
            info.size, stream = len(text), io.BytesIO(text)
        if inside:
            yield _header(inside[0], info.size)
        content = bytearray()
        while stream is not None and (chunk := stream.read(_CHUNK)):
            if inside:
                yield chunk
            if keeps:
                content += chunk
        for path in keeps:
            kept.contents[path] = bytes(content)
        if inside and info.size % _BLOCK:
            yield bytes(_BLOCK - info.size % _BLOCK)
        for other in inside[1:]:
            yield _hard_link(other, inside[0].path)
    if left:
        raise DriverError(f"Layer {layer.descriptor.digest} lacks {', '.join(sorted(left))}.")


def _info(entry: TreeEntry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(entry.path)
    info.mode, info.uid, info.gid, info.mtime = entry.mode, entry.uid, entry.gid, entry.mtime
    for name, value in entry.xattrs:
        text = value.encode("latin-1").decode("utf-8", "surrogateescape")
        info.pax_headers = {**info.pax_headers, _XATTR + name: text}
    return info


def _header(entry: TreeEntry, size: int = 0) -> bytes:
    info = _info(entry)
    info.size = size
    if entry.type is not EntryType.FILE:
        info.type = _TYPES[entry.type]
        info.linkname = entry.link if entry.type is EntryType.SYMLINK else ""
        info.devmajor, info.devminor = entry.device
    return _written(info)


def _hard_link(entry: TreeEntry, target: str) -> bytes:
    info = _info(entry)
    info.type, info.linkname, info.pax_headers = tarfile.LNKTYPE, target, {}
    return _written(info)


def _written(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def joined(chunks: Iterator[bytes], size: int = _CHUNK) -> Iterator[bytes]:
    """Yield the same bytes in pieces of about *size*: a header alone is a write too many."""
    buffer = io.BytesIO()
    for chunk in chunks:
        buffer.write(chunk)
        if buffer.tell() >= size:
            yield buffer.getvalue()
            buffer = io.BytesIO()
    yield buffer.getvalue()
