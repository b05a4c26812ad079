# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks as parts of a version: OCI artefacts that its index lists beside the container image."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core import canonical
from ...oci.descriptor import EMPTY, INDEX, MANIFEST, Descriptor
from ...oci.image import ARTIFACT_TYPE, Image
from ...oci.layout import Layout
from .formats import MEDIA_TYPES

DISK_ARTIFACT = "application/vnd.kiln.disk.v1"
FORMAT = "io.kiln.disk.format"
BYTES = "io.kiln.disk.bytes"
ROOT_HASH = "io.kiln.disk.root-hash"
PARTITION = "io.kiln.disk.partition"
TITLE = "org.opencontainers.image.title"

# An engine that looks for an image of its platform passes over what is of none.
_NO_PLATFORM = {"architecture": "unknown", "os": "unknown"}


@dataclass(frozen=True, slots=True)
class DiskArtefact:
    """A disk in the store.

    :param manifest: of the artefact.
    :param blob: the disk itself.
    :param size: bytes of the disk that a machine sees.
    :param partition: UUID of the partition that it is the content of; empty for a whole disk.
    """

    format: str
    manifest: Descriptor
    blob: Descriptor
    size: int
    partition: str = ""

    def as_json(self) -> dict[str, Any]:
        """The artefact as JSON-able values."""
        return {
            "format": self.format,
            "manifest": self.manifest.as_json(),
            "blob": self.blob.as_json(),
            "size": self.size,
            **({"partition": self.partition} if self.partition else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DiskArtefact:
        """The inverse of as_json."""
        return cls(
            str(value["format"]),
            Descriptor.from_json(value["manifest"]),
            Descriptor.from_json(value["blob"]),
            int(value["size"]),
            str(value.get("partition", "")),
        )


def store_disk(
    layout: Layout,
    content: Iterable[bytes],
    *,
    form: str,
    name: str,
    size: int,
    root_hash: str,
    partition: str = "",
) -> DiskArtefact:
    """Write a disk and its manifest into *layout* (image-spec v1.1, manifest.md, "Guidelines").

    :param name: of the image; with the format it is the name of the file.
    :param size: bytes of the disk that a machine sees.
    :param partition: UUID of the partition that it is the content of.
    """
    with layout.writer() as writer:
        for chunk in content:
            writer.write(chunk)
        blob = writer.commit(MEDIA_TYPES[form], {TITLE: f"{name}.{form}"})
    annotations = {FORMAT: form, BYTES: str(size)}
    if root_hash:
        annotations[ROOT_HASH] = root_hash
    if partition:
        annotations[PARTITION] = partition
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        ARTIFACT_TYPE: DISK_ARTIFACT,
        "config": layout.put(b"{}", EMPTY).as_json(),
        "layers": [blob.as_json()],
        "annotations": annotations,
    }
    stored = layout.put(canonical.encode(manifest), MANIFEST)
    return DiskArtefact(form, stored, blob, size, partition)


def with_disks(layout: Layout, image: Image, disks: Sequence[DiskArtefact]) -> Image:
    """Return *image* with an index that lists *disks* too."""
    index = json.loads(layout.read(image.index))
    index["manifests"] += [
        {
            **replace(
                disk.manifest, annotations={FORMAT: disk.format}, platform=_NO_PLATFORM
            ).as_json(),
            ARTIFACT_TYPE: DISK_ARTIFACT,
        }
        for disk in disks
    ]
    return replace(image, index=layout.put(canonical.encode(index), INDEX))


def disks_of(layout: Layout, index: Descriptor) -> tuple[DiskArtefact, ...]:
    """Return the disks that *index* lists; errors as for Layout.read."""
    found = []
    for entry in json.loads(layout.read(index)).get("manifests", []):
        if entry.get(ARTIFACT_TYPE) != DISK_ARTIFACT:
            continue
        manifest = replace(Descriptor.from_json(entry), annotations={}, platform=None)
        document = json.loads(layout.read(manifest))
        (blob,) = document["layers"]
        notes = document["annotations"]
        found.append(
            DiskArtefact(
                notes[FORMAT],
                manifest,
                Descriptor.from_json(blob),
                int(notes[BYTES]),
                notes.get(PARTITION, ""),
            )
        )
    return tuple(found)
