# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is attached to a manifest by others too: signatures are added to, never overwritten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...core import canonical
from ..descriptor import CONFIG, Descriptor
from ..digest import sha256_bytes
from ..layout import Layout
from .client import Document, Registry
from .family import Family, family, parsed


def union(
    registry: Registry, layout: Layout, ours: Document, theirs: Document, *, looks: bool = False
) -> Family | None:
    """Return what holds all that *ours* and *theirs* hold; None when theirs holds all of ours.

    Both are what one tag names, here and in the registry: cosign's manifest with a layer for each
    signature or attestation, or an index of referrers. Ours first is all when it holds all of
    theirs. A configuration that has to be made anew is stored in *layout*.
    """
    mine = parsed(ours.content, ours.descriptor.digest)
    other = parsed(theirs.content, theirs.descriptor.digest)
    member = "manifests" if "manifests" in mine else "layers"
    have, have_not = _keyed(mine.get(member)), _keyed(other.get(member))
    if not have.keys() - have_not.keys():
        return None
    blobs = family(ours.descriptor, lambda blob: _given(layout, blob, ours))
    missing = [have_not[key] for key in have_not.keys() - have.keys()]
    if not missing:
        return blobs
    value: dict[str, Any] = {**mine, member: [*have.values(), *_sorted(missing)]}
    found = dict(blobs.blobs)
    if member == "layers":
        config = canonical.encode(_config(registry, mine, other, value))
        stored = (
            Descriptor(CONFIG, sha256_bytes(config), len(config))
            if looks
            else layout.put(config, CONFIG)
        )
        media_type = str(dict(value["config"]).get("mediaType", CONFIG))
        value["config"] = replace(stored, media_type=media_type).as_json()
        if not looks:
            found[stored.digest] = stored
    content = canonical.encode(value)
    root = replace(ours.descriptor, digest=sha256_bytes(content), size=len(content))
    return Family((*blobs.documents[:-1], Document(root, content)), found)


def referrer_entry(document: Document) -> tuple[str, dict[str, Any]] | None:
    """Return the subject of a manifest, and how the list of its referrers names it.

    None when it has none (distribution-spec v1.1, "Pushing Manifests with Subject").
    """
    value = parsed(document.content, document.descriptor.digest)
    subject = value.get("subject")
    if not isinstance(subject, dict):
        return None
    entry = Descriptor(
        document.descriptor.media_type, document.descriptor.digest, document.descriptor.size
    ).as_json()
    config = value.get("config")
    kind = value.get("artifactType") or (
        config.get("mediaType") if isinstance(config, dict) else ""
    )
    if kind:
        entry["artifactType"] = kind
    if isinstance(value.get("annotations"), dict):
        entry["annotations"] = value["annotations"]
    return Descriptor.from_json(subject).digest, entry


def _given(layout: Layout, blob: Descriptor, known: Document) -> bytes:
    return known.content if blob.digest == known.descriptor.digest else layout.read(blob)


def _keyed(listed: object) -> dict[str, Any]:
    """Key entries by all that they say: one payload may be signed by several keys."""
    entries = listed if isinstance(listed, list) else []
    return {canonical.digest(entry): entry for entry in entries}


def _sorted(entries: list[Any]) -> list[Any]:
    return sorted(entries, key=canonical.encode)


def _config(
    registry: Registry, mine: dict[str, Any], other: dict[str, Any], merged: dict[str, Any]
) -> dict[str, Any]:
    """Return a configuration that names the layers of *merged*, as tools that list them expect."""
    for one in (other, mine):
        blob = Descriptor.from_json(one["config"])
        if blob.size and registry.has_blob(blob):
            with registry.open_blob(blob) as stream:
                value = parsed(stream.read(), blob.digest)
            break
    else:
        value = {"architecture": "", "os": "", "config": {}}
    digests = [str(layer["digest"]) for layer in merged["layers"]]
    value["rootfs"] = {"type": "layers", "diff_ids": digests}
    value.pop("history", None)
    return value
