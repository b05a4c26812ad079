# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where machines leave bases and layers for each other: records by key, blobs by digest.

A remote cache is believed in nothing that can be checked; what it gives is checked by its caller
(shared_cache.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from ..core.errors import DriverError
from ..core.files import whole_file, write_whole
from ..oci.descriptor import Descriptor
from ..oci.layout import Layout

if TYPE_CHECKING:
    from ..oci.registry.access import Access


_CHUNK = 1 << 20


class RemoteCache(Protocol):
    """A store that other machines reach too. Any method may raise OSError or DriverError."""

    @property
    def name(self) -> str:
        """What the user calls it by."""

    def record(self, kind: str, key: str) -> bytes | None:
        """The record of *kind* (bases, layers) under *key*, None when there is none."""

    def put_record(self, kind: str, key: str, content: bytes, blobs: Sequence[Descriptor]) -> None:
        """Keep a record, whole or not at all, in the place of an earlier one.

        :param blobs: those that it speaks of; they are there already.
        """

    def has_blob(self, blob: Descriptor) -> bool:
        """Whether it holds something under that digest, of that size."""

    def open_blob(self, blob: Descriptor) -> BinaryIO:
        """Open a blob; LostBlob there or while it is read if it is not what *blob* says."""

    def put_blob(self, blob: Descriptor, opened: Callable[[], BinaryIO]) -> None:
        """Keep a blob, whole or not at all, in the place of an earlier one.

        :param opened: opens it; it is verified while it is read.
        """


@dataclass(frozen=True, slots=True)
class DirectoryCache:
    """A remote cache in a directory: on NFS, or one that a CI system keeps between its runs.

    It takes no locks, which such file systems may not have: every file is written beside its
    place and renamed, and a record comes after its blobs. So it may be read while others write,
    and any of its files may go at any time.
    """

    root: Path

    @property
    def name(self) -> str:
        """The directory."""
        return str(self.root)

    def record(self, kind: str, key: str) -> bytes | None:
        """The record of *kind* (bases, layers) under *key*, None when there is none."""
        try:
            return self._record_path(kind, key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put_record(self, kind: str, key: str, content: bytes, blobs: Sequence[Descriptor]) -> None:
        """Keep a record, whole or not at all, in the place of an earlier one."""
        write_whole(self._record_path(kind, key), content)

    def has_blob(self, blob: Descriptor) -> bool:
        """Whether it holds something under that digest, of that size."""
        try:
            return self._layout.path(blob.digest).stat().st_size == blob.size
        except (FileNotFoundError, NotADirectoryError):
            return False

    def open_blob(self, blob: Descriptor) -> BinaryIO:
        """Open a blob; LostBlob there or while it is read if it is not what *blob* says."""
        return self._layout.open(blob)

    def put_blob(self, blob: Descriptor, opened: Callable[[], BinaryIO]) -> None:
        """Keep a blob, whole or not at all, in the place of an earlier one."""
        with opened() as content, whole_file(self._layout.path(blob.digest)) as stream:
            stream.writelines(iter(lambda: content.read(_CHUNK), b""))

    @property
    def _layout(self) -> Layout:
        return Layout(self.root)

    def _record_path(self, kind: str, key: str) -> Path:
        return self.root / kind / (key.removeprefix("sha256:") + ".json")


def remote_cache(place: str, access: Callable[[], Access] | None = None) -> RemoteCache:
    """Return the remote cache at *place*, as kiln_cache_from and kiln_cache_to name it.

    A repository of a registry begins with oci:// or, as for Docker, with a host: it has a dot or
    a port. All else is the path of a directory; ``./`` before it says so for one with a dot.

    :param access: how registries may be spoken to; asked when *place* is one.

    Raises DriverError for what is neither.
    """
    from ..oci.registry.name import has_host

    scheme, found, _rest = place.partition("://")
    if place and not found and not has_host(place):
        return DirectoryCache(Path(os.path.abspath(os.path.expanduser(place))))
    if not place or (found and scheme not in {"oci", "https", "http"}):
        raise DriverError(
            f"{place!r} cannot be a shared cache.",
            hint="Give kiln_cache_from and kiln_cache_to the path of a directory, or a repository"
            " such as registry.example.org/cache.",
        )
    from .registry_cache import registry_cache

    return registry_cache(place, access() if access is not None else None)
