# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root filesystem that the layers of an image make, and which layer each part is from."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..core.errors import DriverError
from .capture import OPAQUE, WHITEOUT
from .layer import Layer
from .layout import Layout
from .listing import EntryType, LayerEntry, list_layer, member_path, members

_WHITEOUT = WHITEOUT.decode()
_OPAQUE = OPAQUE.decode()
_LINKS_FOLLOWED = 40


class TreeEntry(NamedTuple):
    """A name in the root filesystem. A tuple, as a root has ten thousands of them.

    The members are those of LayerEntry; ``layer`` is the index of the layer that the entry is
    from, the first of the base being 0.
    """

    path: str
    type: EntryType
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int
    digest: str | None
    link: str
    device: tuple[int, int]
    xattrs: tuple[tuple[str, str], ...]
    layer: int


@dataclass(frozen=True, slots=True)
class Tree:
    """The merged tree of some layers.

    :param entries: by path (``etc/passwd``; empty for the root), in no particular order.
    """

    layout: Layout
    layers: tuple[Layer, ...]
    entries: Mapping[str, TreeEntry]

    def resolve(self, path: str) -> TreeEntry | None:
        """Return what *path* leads to when symbolic links are followed, within the root.

        None when it leads to nothing, or in a circle.
        """
        pending = [part for part in path.split("/") if part][::-1]
        here = ""
        followed = 0
        while pending:
            part = pending.pop()
            if part == ".":
                continue
            if part == "..":
                here = posixpath.dirname(here)
                continue
            name = f"{here}/{part}" if here else part
            entry = self.entries.get(name)
            if entry is None:
                return None
            if entry.type is not EntryType.SYMLINK:
                here = name
                continue
            followed += 1
            if followed > _LINKS_FOLLOWED:
                return None
            if entry.link.startswith("/"):
                here = ""
            pending += [part for part in entry.link.split("/") if part][::-1]
        return self.entries.get(here)

    def read(self, path: str) -> bytes:
        """Return the content of the file at *path*, links followed; DriverError when it is none."""
        entry = self.resolve(path)
        if entry is None or entry.type is not EntryType.FILE:
            raise DriverError(f"/{path} is no file of the image.")
        return dict(self.read_files([entry.path]))[entry.path]

    def read_files(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield path and content of each of the files *paths*, in the order of the layers.

        Each layer that has some is read once, and no farther than to the last of them. What is
        yielded is verified.
        """
        wanted: dict[int, dict[str, list[str]]] = {}
        for path in dict.fromkeys(paths):
            entry = self.entries[path]
            wanted.setdefault(entry.layer, {}).setdefault(entry.link or path, []).append(path)
        for index in sorted(wanted):
            yield from self._read_layer(index, wanted[index])

    def _read_layer(
        self, index: int, wanted: Mapping[str, Collection[str]]
    ) -> Iterator[tuple[str, bytes]]:
        layer = self.layers[index]
        left = dict(wanted)
        for info, archive in members(self.layout, layer):
            names = left.get(member_path(info.name))
            if names is None or not info.isreg():
                continue
            del left[member_path(info.name)]
            stream = archive.extractfile(info)
            content = b"" if stream is None else stream.read()
            digest = "sha256:" + hashlib.sha256(content).hexdigest()
            for path in names:
                if self.entries[path].digest != digest:
                    raise DriverError(
                        f"/{path} in layer {layer.descriptor.digest} is not what it was.",
                        hint="Run kiln.immutable.fsck.",
                    )
                yield path, content
            if not left:
                return
        raise DriverError(f"Layer {layer.descriptor.digest} lacks {', '.join(sorted(left))}.")


def read_tree(layout: Layout, layers: Sequence[Layer]) -> Tree:
    """Return the tree of *layers*, the lowest first; errors as for list_layer."""
    return Tree(layout, tuple(layers), merge(list_layer(layout, layer) for layer in layers))


def merge(listings: Iterable[Iterable[LayerEntry]]) -> dict[str, TreeEntry]:
    """Lay the entries of layers over each other (OCI image-spec v1.1, layer.md, "Whiteouts").

    Pure. Whiteouts take away what the layers below have, never what their own layer has.
    """
    merged: dict[str, TreeEntry] = {}
    for index, listing in enumerate(listings):
        own: list[LayerEntry] = []
        gone: set[str] = set()
        emptied: set[str] = set()
        for entry in listing:
            folder, _slash, name = entry.path.rpartition("/")
            if name == _OPAQUE:
                emptied.add(folder)
            elif name.startswith(_WHITEOUT):
                removed = name.removeprefix(_WHITEOUT)
                gone.add(f"{folder}/{removed}" if folder else removed)
            else:
                own.append(entry)
        # What is no directory any more has nothing below it.
        gone_below = {
            entry.path
            for entry in own
            if entry.type is not EntryType.DIRECTORY
            and entry.path in merged
            and merged[entry.path].type is EntryType.DIRECTORY
        }
        _take_away(merged, gone, emptied | gone_below)
        for entry in own:
            merged[entry.path] = _placed(merged, entry, index)
            parent = entry.path.rpartition("/")[0]
            while parent and parent not in merged:
                merged[parent] = _implied(parent, index)
                parent = parent.rpartition("/")[0]
    return merged


def _implied(path: str, index: int) -> TreeEntry:
    """A directory that layers of others need not name: engines make it, of root and 0755."""
    return TreeEntry(path, EntryType.DIRECTORY, 0o755, 0, 0, 0, 0, None, "", (0, 0), (), index)


def _take_away(merged: dict[str, TreeEntry], gone: set[str], emptied: set[str]) -> None:
    hollow = emptied | {
        path for path in gone if path in merged and merged[path].type is EntryType.DIRECTORY
    }
    if hollow:
        below = [path for path in merged if path and not hollow.isdisjoint(_above(path))]
        for path in below:
            del merged[path]
    for path in gone:
        merged.pop(path, None)


def _above(path: str) -> Iterator[str]:
    """Yield the directories that *path* is in, the root last."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _placed(merged: Mapping[str, TreeEntry], entry: LayerEntry, index: int) -> TreeEntry:
    if entry.type is not EntryType.HARD_LINK:
        return TreeEntry(*entry, index)
    target = merged.get(entry.link)
    if target is None or target.type is EntryType.DIRECTORY:
        raise DriverError(f"/{entry.path} is a hard link to /{entry.link}, which no layer has.")
    return target._replace(path=entry.path, link=target.link or target.path)
