# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a version: every name in its root and what is there, and its packages."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..core import canonical
from ..core.errors import DriverError
from ..oci.digest import sha256_bytes
from ..oci.listing import EntryType
from ..oci.tree import Tree
from .reading import packages_of

FORM = 1
MEDIA_TYPE = "application/vnd.kiln-immutable.manifest.v1+json+gzip"
"""Of the manifest as it is kept beside a version."""


class Entry(NamedTuple):
    """A name in a root. A tuple, as a root has ten thousands of them.

    ``path`` is relative to the root and empty for the root itself. ``type`` is that of EntryType,
    or ``socket`` in an instance. ``mode`` has the twelve permission bits. ``digest`` is that of a
    file's content, ``sha256:HEX``, None for all else. ``link`` is the target of a symbolic link.
    ``xattrs`` holds names and values, the values as latin-1 text.

    Times are left out: they say nothing that the digest does not. So is which names are one file,
    because a file that is written to gets an inode of its own in a container.
    """

    path: str
    type: str
    mode: int
    uid: int
    gid: int
    size: int
    digest: str | None
    link: str
    device: tuple[int, int]
    xattrs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version consists of.

    :param entries: by path.
    :param packages: versions of the installed packages, by ``NAME:ARCHITECTURE``.
    """

    entries: Mapping[str, Entry]
    packages: Mapping[str, str]

    def encode(self) -> bytes:
        """The manifest as canonical JSON: equal manifests have equal bytes."""
        rows = [self.entries[path] for path in sorted(self.entries)]
        return canonical.encode({"form": FORM, "entries": rows, "packages": dict(self.packages)})


def manifest_of(tree: Tree, status: str) -> Manifest:
    """Return the manifest of the root *tree*.

    :param status: what its ``var/lib/dpkg/status`` holds; empty when it has none.
    """
    entries = {
        path: Entry(
            path,
            one.type.value,
            # No engine keeps the permissions of a link, and the kernel looks at none.
            0o777 if one.type is EntryType.SYMLINK else one.mode,
            one.uid,
            one.gid,
            one.size,
            one.digest,
            one.link if one.type is EntryType.SYMLINK else "",
            one.device,
            () if one.type is EntryType.SYMLINK else one.xattrs,
        )
        for path, one in tree.entries.items()
    }
    return Manifest(entries, packages_of(status))


def read_entries(rows: Iterable[Any]) -> dict[str, Entry]:
    """Return entries by path from the rows of a manifest or of the reading of an instance."""
    return {
        row[0]: Entry._make((*row[:8], (row[8][0], row[8][1]), tuple((n, v) for n, v in row[9])))
        for row in rows
    }


def decode(content: bytes) -> Manifest:
    """Read what Manifest.encode gave; DriverError when it is malformed or of another form."""
    try:
        value = json.loads(content.decode("utf-8", "surrogateescape"))
        if value["form"] != FORM:
            raise DriverError(f"A manifest of form {value['form']!r} is not known here.")
        return Manifest(read_entries(value["entries"]), dict(value["packages"]))
    except (ValueError, LookupError, TypeError) as error:
        raise DriverError(f"A manifest is malformed: {error!r}.") from error


def pack(content: bytes) -> bytes:
    """Return an encoded manifest as it is kept; the same bytes for the same content."""
    return gzip.compress(content, 6, mtime=0)


def unpack(packed: bytes, digest: str) -> Manifest:
    """Read what pack gave; DriverError when its content has not *digest*."""
    try:
        content = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise DriverError(f"A manifest is damaged: {error}.") from error
    if sha256_bytes(content) != digest:
        raise DriverError("A manifest is not the one that its version's statement names.")
    return decode(content)


def describe(content: bytes, manifest: Manifest) -> dict[str, Any]:
    """Return what a statement says of the manifest whose encoding is *content*."""
    return {
        "digest": sha256_bytes(content),
        "mediaType": MEDIA_TYPE,
        "entries": len(manifest.entries),
        "packages": len(manifest.packages),
    }
