# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The OCI content descriptor: what a blob is, by media type, digest and size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import DriverError
from .digest import parse

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
EMPTY = "application/vnd.oci.empty.v1+json"

REPLACED = "kiln.immutable.replaced"
"""Annotation of a manifest of signatures or attestations: digests, joined by commas, of what it
held before and holds in a newer form."""
REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob (OCI image-spec v1.1, descriptor.md).

    :param size: bytes of the blob as stored.
    :param platform: for a manifest in an index: architecture, os, perhaps variant.
    """

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Mapping[str, Any] | None = field(default=None, hash=False)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of the specification; empty members are left out."""
        value: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        if self.platform is not None:
            value["platform"] = dict(self.platform)
        return value

    @classmethod
    def from_json(cls, value: object) -> Descriptor:
        """Read the JSON object of the specification; DriverError when it is malformed."""
        if not isinstance(value, dict):
            raise DriverError(f"A descriptor must be a JSON object, not {value!r}.")
        media_type, digest, size = (value.get(key) for key in ("mediaType", "digest", "size"))
        annotations = value.get("annotations") or {}
        platform = value.get("platform")
        if (
            not isinstance(media_type, str)
            or not isinstance(digest, str)
            or not isinstance(size, int)
            or isinstance(size, bool)
            or size < 0
            or not isinstance(annotations, dict)
            or not all(isinstance(text, str) for text in annotations.values())
            or not isinstance(platform, dict | None)
        ):
            raise DriverError(f"This descriptor is malformed: {value!r}.")
        parse(digest)
        return cls(media_type, digest, size, annotations, platform)
