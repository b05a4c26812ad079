# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root of a disk as one tar: what the layers make together, in an order that repeats.

This decides what is in it, and ``root_merge`` makes it.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...oci.layer import Layer
from ...oci.listing import EntryType
from ...oci.tree import Tree, TreeEntry

_CHUNK = 1 << 20
_XATTR = "SCHILY.xattr."
_TYPES = {
    EntryType.DIRECTORY: tarfile.DIRTYPE,
    EntryType.SYMLINK: tarfile.SYMTYPE,
    EntryType.CHAR_DEVICE: tarfile.CHRTYPE,
    EntryType.BLOCK_DEVICE: tarfile.BLKTYPE,
    EntryType.FIFO: tarfile.FIFOTYPE,
}

LeavesOut = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Kept:
    """Files whose content is wanted beside the tar.

    :param names: of the files on the bench that they are written to, by path.
    :param rewritten: what some of them hold instead, by path; those are small.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    rewritten: Mapping[str, bytes] = field(default_factory=dict)


def merging(tree: Tree, *, leaves_out: LeavesOut, kept: Kept) -> Iterator[bytes]:
    """Yield what the program ``root_merge`` makes the tar of *tree* from: a plan, and the layers.

    Directories and links are first in the tar, then the files, layer by layer. Each layer is read
    once, and verified by then. When this raises, what was given is void.

    :param leaves_out: says of a path that it is not to be in the tar.
    :param kept: files that are left out can be among them.
    """
    files: dict[int, dict[str, list[TreeEntry]]] = {}
    head = io.BytesIO()
    for path in sorted(tree.entries):
        entry = tree.entries[path]
        if entry.type is EntryType.FILE:
            if path in kept.names or not leaves_out(path):
                files.setdefault(entry.layer, {}).setdefault(entry.link or path, []).append(entry)
        elif path and not leaves_out(path):
            head.write(_header(entry))
    layers = [_asked(tree.layers[index], files[index], leaves_out, kept) for index in sorted(files)]
    plan = {"head": head.tell(), "layers": layers}
    yield json.dumps(plan, separators=(",", ":")).encode() + b"\n"
    yield head.getvalue()
    for index in sorted(files):
        with tree.layout.open(tree.layers[index].descriptor) as blob:
            while chunk := blob.read(_CHUNK):
                yield chunk


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


def _asked(
    layer: Layer, files: Mapping[str, Sequence[TreeEntry]], leaves_out: LeavesOut, kept: Kept
) -> dict[str, Any]:
    """Return what the plan says of *layer*, of which the members *files* are wanted.

    Most go into the tar as they are in the layer; of the others there is what is to be there.
    """
    as_is: list[str] = []
    special: dict[str, Any] = {}
    for path, entries in files.items():
        inside = [entry for entry in entries if not leaves_out(entry.path)]
        keeps = [entry.path for entry in entries if entry.path in kept.names]
        if not keeps and len(inside) == 1 and inside[0].path == path:
            as_is.append(path)
            continue
        content = next((kept.rewritten[one] for one in keeps if one in kept.rewritten), None)
        size = entries[0].size if content is None else len(content)
        special[path] = {
            "header": _header(inside[0], size).decode("latin-1") if inside else "",
            "links": b"".join(_hard_link(one, inside[0].path) for one in inside[1:]).decode(
                "latin-1"
            ),
            "kept": [kept.names[one] for one in keeps],
            "content": None if content is None else content.decode("latin-1"),
        }
    descriptor = layer.descriptor
    return {
        "digest": descriptor.digest,
        "bytes": descriptor.size,
        "as_is": as_is,
        "special": special,
    }


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
