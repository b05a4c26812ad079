# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of one layer, with the digests of its files: read once and kept beside the blobs."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from ..core import canonical
from ..core.errors import DriverError
from ..core.files import write_whole
from .capture import READ_BYTES
from .digest import parse
from .layer import Layer
from .layout import Layout

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FORM = 1
"""Of what a listing holds: one of another form is made anew."""

WATCHED_BYTES = 4 << 20
"""The largest file whose content who watches a layer is shown."""

_XATTR = "SCHILY.xattr."
_TAR_BYTES = 16 << 10


class EntryType(StrEnum):
    """What a name in a root filesystem is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    CHAR_DEVICE = "char"
    BLOCK_DEVICE = "block"
    FIFO = "fifo"
    HARD_LINK = "link"
    """Only within a layer: another name of a file that a layer below has."""


_TYPES = {
    tarfile.REGTYPE: EntryType.FILE,
    tarfile.AREGTYPE: EntryType.FILE,
    tarfile.CONTTYPE: EntryType.FILE,
    tarfile.GNUTYPE_SPARSE: EntryType.FILE,
    tarfile.LNKTYPE: EntryType.HARD_LINK,
    tarfile.SYMTYPE: EntryType.SYMLINK,
    tarfile.CHRTYPE: EntryType.CHAR_DEVICE,
    tarfile.BLKTYPE: EntryType.BLOCK_DEVICE,
    tarfile.DIRTYPE: EntryType.DIRECTORY,
    tarfile.FIFOTYPE: EntryType.FIFO,
}


class LayerEntry(NamedTuple):
    """An entry of a layer. A tuple, as a root has ten thousands of them.

    ``path`` is relative to the root, without a slash at either end, empty for the root itself;
    bytes that are no UTF-8 are surrogate escapes. ``digest`` is that of a file's content and None
    for all else. ``link`` is the target of a symbolic link as it is, and for a file with several
    names the first of them (empty for that one itself). ``xattrs`` holds names and values, the
    values as latin-1 text.
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


Watch = Callable[[LayerEntry, bytes], None]


def list_layer(layout: Layout, layer: Layer, watch: Watch | None = None) -> list[LayerEntry]:
    """Return the entries of *layer*, whiteouts too, in their order.

    They are kept in the store by the layer's diff_id, so that a base is read once however many
    images are made on it.

    :param watch: is shown each file of at most WATCHED_BYTES with its content; then the layer is
        read in any case.

    Raises LostBlob for a layer that is missing or damaged, DriverError for one that is no tar.
    """
    path = listing_path(layout, layer.diff_id)
    if watch is None:
        kept = _read_kept(path)
        if kept is not None:
            return kept
    entries = list(_read_layer(layout, layer, watch))
    content = zlib.compress(canonical.encode({"form": FORM, "entries": entries}), 1)
    # An aid only: where it cannot be written, the next who asks reads the layer again.
    with contextlib.suppress(OSError):
        write_whole(path, content)
    return entries


def listing_path(layout: Layout, diff_id: str) -> Path:
    """Return where the listing of the layer of *diff_id* is, or would be."""
    return layout.listings / parse(diff_id)[1]


def _read_kept(path: Path) -> list[LayerEntry] | None:
    try:
        text = zlib.decompress(path.read_bytes()).decode("utf-8", "surrogateescape")
        value = json.loads(text)
        if value["form"] != FORM:
            return None
        return [
            LayerEntry._make(
                (row[0], EntryType(row[1]), *row[2:9], tuple(row[9]), tuple(map(tuple, row[10])))
            )
            for row in value["entries"]
        ]
    except (OSError, zlib.error, ValueError, LookupError, TypeError):
        return None


def _read_layer(layout: Layout, layer: Layer, watch: Watch | None) -> Iterator[LayerEntry]:
    digests: dict[str, LayerEntry] = {}
    for info, archive in members(layout, layer):
        entry = member_entry(info)
        if entry.type is EntryType.FILE:
            entry = _hashed(archive, info, entry, watch)
            digests[entry.path] = entry
        elif entry.type is EntryType.HARD_LINK and entry.link in digests:
            first = digests[entry.link]
            link = first.link or first.path
            entry = first._replace(path=entry.path, link=link)
            digests[entry.path] = entry
        yield entry


def members(layout: Layout, layer: Layer) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Yield each member of *layer*'s tar in its order, and the archive to read it from.

    Only the member that was yielded last can be read. The blob is verified when its end is
    reached; who stops before has to check what was read.
    """
    try:
        with (
            layout.open(layer.descriptor) as blob,
            tarfile.open(
                fileobj=io.BufferedReader(_Inflated(blob), READ_BYTES),
                mode="r|",
                # It copies what is left of its buffer at each header.
                bufsize=_TAR_BYTES,
                encoding="utf-8",
                errors="surrogateescape",
            ) as archive,
        ):
            while (info := archive.next()) is not None:
                yield info, archive
            while blob.read(READ_BYTES):
                continue
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise DriverError(
            f"Layer {layer.descriptor.digest} is no tar archive in gzip: {error}."
        ) from error


def member_path(name: str) -> str:
    """Return the path of an entry from its *name* in a tar: relative, without ``.`` parts."""
    if name and not name.startswith((".", "/")) and "//" not in name and "/./" not in name:
        return name.rstrip("/")
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def member_entry(info: tarfile.TarInfo) -> LayerEntry:
    """Return what the header *info* says; a file has no digest yet."""
    path = member_path(info.name)
    kind = _TYPES.get(info.type)
    if kind is None:
        raise DriverError(f"/{path} in a layer is of tar type {info.type!r}, which is unknown.")
    link = ""
    if kind is EntryType.SYMLINK:
        link = info.linkname
    elif kind is EntryType.HARD_LINK:
        link = member_path(info.linkname)
    is_device = kind in (EntryType.CHAR_DEVICE, EntryType.BLOCK_DEVICE)
    xattrs: tuple[tuple[str, str], ...] = ()
    if info.pax_headers:
        xattrs = tuple(
            (name.removeprefix(_XATTR), value.encode("utf-8", "surrogateescape").decode("latin-1"))
            for name, value in sorted(info.pax_headers.items())
            if name.startswith(_XATTR)
        )
    return LayerEntry(
        path,
        kind,
        info.mode & 0o7777,
        info.uid,
        info.gid,
        int(info.mtime),
        info.size if kind is EntryType.FILE else 0,
        None,
        link,
        (info.devmajor, info.devminor) if is_device else (0, 0),
        xattrs,
    )


def _hashed(
    archive: tarfile.TarFile, info: tarfile.TarInfo, entry: LayerEntry, watch: Watch | None
) -> LayerEntry:
    digest = hashlib.sha256()
    stream = archive.extractfile(info)
    shown = watch if info.size <= WATCHED_BYTES else None
    content = b""
    while stream is not None and (part := stream.read(WATCHED_BYTES)):
        digest.update(part)
        if shown is not None:
            content += part
    hashed = entry._replace(digest="sha256:" + digest.hexdigest())
    if shown is not None:
        shown(hashed, content)
    return hashed


class _Inflated(io.RawIOBase):
    """A gzip stream as plain bytes. Unlike GzipFile it asks for a whole megabyte at a time."""

    def __init__(self, blob: object) -> None:
        super().__init__()
        self._blob = cast(io.BufferedReader, blob)
        self._inflater = zlib.decompressobj(wbits=31)
        self._pending = b""
        self._at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        while True:
            if self._inflater.eof:
                # A gzip file may have several members (RFC 1952, section 2.2).
                self._pending = self._inflater.unused_data or self._blob.read(READ_BYTES)
                if not self._pending:
                    return 0
                self._inflater = zlib.decompressobj(wbits=31)
            elif not self._pending:
                self._pending = self._blob.read(READ_BYTES)
                self._at_end = not self._pending
            content = self._inflater.decompress(self._pending, len(view))
            self._pending = self._inflater.unconsumed_tail
            if content:
                view[: len(content)] = content
                return len(content)
            if self._at_end and not self._inflater.eof:
                raise EOFError("it ends early")
