# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is attached to a manifest by others too: signatures are added to, never overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...core import canonical
from ..descriptor import CONFIG, REPLACED, Descriptor
from ..digest import sha256_bytes
from ..layout import Layout
from .client import Document, Registry
from .family import Family, family, parsed


def union(
    registry: Registry,
    layout: Layout,
    ours: Document,
    theirs: Document,
    *,
    ours_counts: bool = True,
    looks: bool = False,
) -> Family | None:
    """Return what holds all that *ours* and *theirs* hold; None when theirs is that.

    Both are what one tag names, here and in the registry: cosign's manifest with a layer for each
    signature or attestation, or an index of referrers. Ours alone is all when it holds all of
    theirs. What one of them says that it replaced is left out of the other. A configuration that
    has to be made anew is stored in *layout*.

    :param ours_counts: whether ours is the newer one when each says that it replaced the other.
    """
    mine = parsed(ours.content, ours.descriptor.digest)
    other = parsed(theirs.content, theirs.descriptor.digest)
    member = "manifests" if "manifests" in mine else "layers"
    have, have_not = _keyed(mine.get(member)), _keyed(other.get(member))
    old, old_there = replaced(mine), replaced(other)
    stale = {key for key, one in have_not.items() if one.get("digest") in old}
    stale_here = {key for key, one in have.items() if one.get("digest") in old_there}
    if stale and stale_here and not ours_counts:
        stale = set()
    if not stale:
        have = {key: one for key, one in have.items() if key not in stale_here}
    if not have.keys() - have_not.keys() and not stale:
        return None
    blobs = family(ours.descriptor, lambda blob: _given(layout, blob, ours))
    missing = [have_not[key] for key in have_not.keys() - have.keys() - stale]
    if not missing and len(have) == len(_keyed(mine.get(member))):
        return blobs
    value: dict[str, Any] = {**mine, member: [*have.values(), *_sorted(missing)]}
    gone = [one for one in dict.fromkeys([*old, *old_there]) if one not in _digests(value[member])]
    if gone:
        annotations = mine.get("annotations")
        told = annotations if isinstance(annotations, dict) else {}
        value["annotations"] = {**told, REPLACED: ",".join(gone)}
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


def replaced(manifest: Mapping[str, Any]) -> list[str]:
    """Return the digests of what *manifest* once held, and holds in a newer form now."""
    annotations = manifest.get("annotations")
    told = annotations.get(REPLACED) if isinstance(annotations, Mapping) else None
    return str(told).split(",") if told else []


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


def _digests(entries: list[Any]) -> set[str]:
    return {str(entry.get("digest")) for entry in entries}


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
