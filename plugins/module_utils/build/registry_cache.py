# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry as a remote cache: a manifest for each record, tagged by kind and key.

The record is the manifest's configuration and the blobs are its layers, so the registry keeps
the blobs as long as the tag, and refuses a record whose blobs it has not.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from ..core import canonical
from ..core.errors import DriverError
from ..oci.descriptor import MANIFEST, Descriptor
from ..oci.digest import parse, sha256_bytes
from ..oci.registry.access import Access
from ..oci.registry.client import Document, Registry, connect
from ..oci.registry.family import parsed
from ..oci.registry.name import Repository

RECORD = "application/vnd.kiln.record.v1+json"
_LONGEST = 16 << 20


@dataclass(frozen=True, slots=True)
class RegistryCache:
    """A remote cache in a repository of a registry; see RemoteCache.

    A registry that has damaged a blob keeps it: it takes no second one of the same digest.
    """

    registry: Registry

    @property
    def name(self) -> str:
        """The repository."""
        return str(self.registry.repository)

    def record(self, kind: str, key: str) -> bytes | None:
        """The record of *kind* (bases, layers) under *key*, None when there is none."""
        found = self.registry.fetch(_tag(kind, key))
        if found is None:
            return None
        config = Descriptor.from_json(parsed(found.content, found.descriptor.digest).get("config"))
        if config.media_type != RECORD or config.size > _LONGEST:
            raise DriverError(f"{self.name}:{_tag(kind, key)} is no record of a cache.")
        with self.registry.open_blob(config) as stream:
            return stream.read()

    def put_record(self, kind: str, key: str, content: bytes, blobs: Sequence[Descriptor]) -> None:
        """Keep a record, whole or not at all, in the place of an earlier one."""
        config = Descriptor(RECORD, sha256_bytes(content), len(content))
        self.registry.put_blob(config, lambda: io.BytesIO(content))
        manifest = canonical.encode(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": RECORD,
                "config": config.as_json(),
                # A list without an entry is more than some registries take.
                "layers": [blob.as_json() for blob in blobs] or [config.as_json()],
            }
        )
        descriptor = Descriptor(MANIFEST, sha256_bytes(manifest), len(manifest))
        self.registry.put(Document(descriptor, manifest), _tag(kind, key))

    def has_blob(self, blob: Descriptor) -> bool:
        """Whether it holds something under that digest, of that size."""
        return self.registry.has_blob(blob)

    def open_blob(self, blob: Descriptor) -> BinaryIO:
        """Open a blob; WrongContent while it is read if it is not what *blob* says."""
        return self.registry.open_blob(blob)

    def put_blob(self, blob: Descriptor, opened: Callable[[], BinaryIO]) -> None:
        """Keep a blob, whole or not at all."""
        self.registry.put_blob(blob, opened, replace=True)


def registry_cache(place: str, access: Access | None) -> RegistryCache:
    """Return the cache in the repository that *place* names; DriverError when it names none."""
    repository = Repository.parse(place)
    if not repository.name:
        raise DriverError(
            f"{place!r} is a registry without a repository.",
            hint=f"Name one, such as {place.rstrip('/')}/cache.",
        )
    # A bake goes on without it: it is not waited for as long as for a push.
    given = access or Access()
    return RegistryCache(connect(repository, replace(given, attempts=min(given.attempts, 3))))


def _tag(kind: str, key: str) -> str:
    return f"{kind}-{parse(key)[1]}"
