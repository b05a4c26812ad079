# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image needs: the blobs that its index leads to. Documents are verified while read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import DriverError
from .damage import DamagedBlob, LostBlob, MissingBlob, examine
from .descriptor import Descriptor
from .layout import Layout


@dataclass(frozen=True, slots=True)
class Closure:
    """The blobs that one index leads to.

    :param sizes: bytes of each blob by its digest, as its descriptor says; None for the index
        itself, which only its digest names.
    :param unread: documents that could not be read, by digest, and why: what they name is not
        in ``sizes``.
    """

    sizes: dict[str, int | None] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)


def closure(layout: Layout, index: str) -> Closure:
    """Follow the index of that digest to everything that it names (image-spec v1.1).

    Indexes may hold indexes, and manifests of any artefact: their members manifests, config,
    layers and subject are followed whatever their media types are.
    """
    found = Closure({index: None})
    pending = [index]
    while pending:
        digest = pending.pop()
        try:
            listed = list(named(_document(layout, digest)))
        except DriverError as error:
            found.unread[digest] = str(error)
            continue
        for descriptor, is_document in listed:
            if is_document and descriptor.digest not in found.sizes:
                pending.append(descriptor.digest)
            found.sizes[descriptor.digest] = descriptor.size
    return found


def _document(layout: Layout, digest: str) -> dict[str, Any]:
    path = layout.path(digest)
    found = examine(path, digest)
    if found is None:
        raise MissingBlob(f"Blob {digest} is missing from {layout.root}.", digest, layout.root)
    if found.flaw is not None:
        raise DamagedBlob(f"Blob {digest} is damaged: {found.flaw}.", digest, layout.root)
    content = layout.read(Descriptor("", digest, found.size))
    try:
        value = json.loads(content)
    except ValueError as error:
        raise LostBlob(f"Blob {digest} is not JSON: {error}.", digest, layout.root) from error
    if not isinstance(value, dict):
        raise LostBlob(f"Blob {digest} is not a JSON object.", digest, layout.root)
    return value


def named(document: dict[str, Any]) -> Iterator[tuple[Descriptor, bool]]:
    """Yield each descriptor in *document*, and whether what it names is a document itself."""
    for entry in document.get("manifests") or []:
        yield Descriptor.from_json(entry), True
    if "subject" in document:
        yield Descriptor.from_json(document["subject"]), True
    for entry in (document.get("config"), *(document.get("layers") or [])):
        if entry is not None:
            yield Descriptor.from_json(entry), False
