# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance that does not run, read from its engine's export of its files."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ..core.errors import DriverError
from ..oci.capture import READ_BYTES
from ..oci.listing import EntryType, LayerEntry, member_entry
from .engine_made import INIT
from .instance import Instance, Observed
from .manifest import Entry
from .reading import STATUS, Mount, packages_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

UNSEEN = (
    "processes, as it does not run",
    "what is mounted and in memory, of which an export has nothing",
    "extended attributes but capabilities, which an export leaves out",
)
KEPT_XATTR = "security.capability"
_ENGINES = ("etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", *INIT)
_TOPS = ("dev/", "proc/", "sys/")


def read_export(chunks: Iterable[bytes], instance: Instance) -> Observed:
    """Return what is in the tar of ``docker export``; DriverError when it is no tar."""
    entries: dict[str, Entry] = {}
    status = b""
    try:
        with tarfile.open(
            fileobj=io.BufferedReader(_Chunks(iter(chunks)), READ_BYTES),
            mode="r|",
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive:
            while (info := archive.next()) is not None:
                found = member_entry(info)
                if found.path.startswith(_TOPS) or found.path in _ENGINES:
                    continue
                digest: str | None = None
                if found.type is EntryType.FILE:
                    content = archive.extractfile(info)
                    reading = hashlib.sha256()
                    while content is not None and (part := content.read(READ_BYTES)):
                        reading.update(part)
                        status += part if found.path == STATUS else b""
                    digest = "sha256:" + reading.hexdigest()
                entries[found.path] = _entry(found, digest, entries)
    except (tarfile.TarError, EOFError) as error:
        raise DriverError(f"The export of {instance.name} is no tar: {error}.") from error
    return Observed(entries, packages_of(status.decode("utf-8", "replace")), _mounts(instance))


def as_exported(wanted: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return the entries of a version as an export would have them."""
    return {
        path: one._replace(xattrs=tuple(pair for pair in one.xattrs if pair[0] == KEPT_XATTR))
        if one.xattrs
        else one
        for path, one in wanted.items()
        # The root itself is not in it.
        if path
    }


def _entry(found: LayerEntry, digest: str | None, before: dict[str, Entry]) -> Entry:
    if found.type is EntryType.HARD_LINK and found.link in before:
        return before[found.link]._replace(path=found.path)
    is_link = found.type is EntryType.SYMLINK
    return Entry(
        found.path,
        found.type.value,
        0o777 if is_link else found.mode,
        found.uid,
        found.gid,
        found.size,
        digest,
        found.link if is_link else "",
        found.device,
        tuple(pair for pair in found.xattrs if pair[0] == KEPT_XATTR),
    )


def _mounts(instance: Instance) -> dict[str, Mount]:
    """What the engine was told to mount."""
    found = {}
    for one in instance.document.get("Mounts") or ():
        path = str(one["Destination"]).strip("/")
        found[path] = Mount(path, str(one["Type"]), ("rw" if one.get("RW") else "ro",))
    for name in instance.host_config.get("Tmpfs") or ():
        path = str(name).strip("/")
        found[path] = Mount(path, "tmpfs", ("rw",))
    return found


class _Chunks(io.RawIOBase):
    """Pieces of bytes as a file to read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        while not self._left:
            try:
                self._left = next(self._chunks)
            except StopIteration:
                return 0
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
