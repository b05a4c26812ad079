# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags that follow a catalog, and removals that take nothing along by accident.

Deleting a manifest takes every tag that names it, and no registry refuses that (distribution-spec
v1.1, "Deleting Manifests"). So a tag alone is removed by moving it to a manifest made for that,
which is then deleted; and a manifest is deleted only when all of its tags may go.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ...core import canonical
from ...core.errors import DriverError
from ..descriptor import EMPTY, MANIFEST, Descriptor
from ..digest import sha256_bytes
from ..references import named
from .access import RegistryError
from .client import Document, Registry, fallback_tag
from .family import ATTACHED, parsed, side_by_side

_REFUSED = frozenset({400, 403, 405, 501})


@dataclass(frozen=True, slots=True)
class TagMove:
    """A tag that has to change.

    :param before: the digest that it names in the registry, None when there is no such tag.
    :param after: the digest that it is to name, None when it is to go.
    """

    tag: str
    before: str | None
    after: str | None


def follow(
    registry: Registry, wanted: Mapping[str, str | None], *, looks: bool = False
) -> list[TagMove]:
    """Let each tag of *wanted* name the manifest of that digest, or nothing; return what changed.

    The manifests must be there already. Other tags are left alone, also those that name the same.

    :param looks: only say what would be changed.

    RegistryError names what could not be done; tags before it are set then, and doing it again
    goes on from there.
    """
    moves = []
    for tag in sorted(wanted):
        after = wanted[tag]
        there = registry.resolve(tag)
        before = None if there is None else there.digest
        if before == after:
            continue
        moves.append(TagMove(tag, before, after))
        if looks:
            continue
        if after is None:
            remove_tag(registry, tag)
            continue
        document = registry.fetch(after)
        if document is None:
            raise DriverError(
                f"{registry.repository} has not {after}, which the tag {tag} is to name.",
                hint="Push that version first: kiln.immutable.image_push.",
            )
        registry.put(document, tag)
    return moves


def remove_tag(registry: Registry, tag: str) -> bool:
    """Remove one tag and nothing else; return False when it is not there.

    RegistryError when the registry deletes nothing; the tag is as it was then.
    """
    if registry.resolve(tag) is None:
        return False
    # Whether it deletes at all is tried on what nobody needs, before the tag is moved to it.
    for name in ("", tag):
        nothing = _nothing(registry)
        registry.put(nothing, name)
        try:
            registry.delete(nothing.descriptor.digest)
        except RegistryError as error:
            raise RegistryError(
                f"The tag {tag} of {registry.repository} cannot be removed: {error.message}",
                hint="Let the registry delete, or remove the tag by its own means.",
                status=error.status,
                codes=error.codes,
            ) from error
    return True


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a removal of versions did, or would do.

    :param deleted: digests of manifests, in the order in which they went.
    :param kept: digests that stay, each with the reason.
    :param refused: digests that the registry would not delete, each with what it said: garbage
        that it keeps.
    """

    deleted: tuple[str, ...]
    kept: Mapping[str, str]
    refused: Mapping[str, str]


def prune(
    registry: Registry,
    versions: Mapping[str, Collection[str]],
    *,
    known: Mapping[str, Collection[str]] | None = None,
    looks: bool = False,
) -> Pruned:
    """Delete versions with their manifests and what is attached to them.

    Order: what is attached, indexes, what they lead to. Killed at any point, it leaves every
    tagged version whole, and doing it again goes on.

    :param versions: the tags that may go with each version, by the digest of its index. One that
        another tag names, as a channel's, is kept.
    :param known: digests of the manifests of versions, as a store has them, by that of the index:
        what a killed removal left is found by them when the index is gone.
    :param looks: only say what would be deleted.

    Manifests that any remaining tag leads to stay. Blobs are the registry's own business: it
    frees those that no manifest names when it collects its garbage.
    """
    table = _read_tags(registry)
    kept: dict[str, str] = {}
    parts: dict[str, list[str]] = {}
    gone: set[str] = set()
    for digest, tags in sorted(versions.items()):
        others = sorted(
            t for t, d in table.items() if d.descriptor.digest == digest and t not in tags
        )
        if others:
            kept[digest] = f"it is also tagged {', '.join(others)}"
        elif registry.resolve(digest) is not None:
            parts[digest] = _members(registry, digest)
        else:
            left = (known or {}).get(digest, ())
            parts[digest] = [digest, *(one for one in left if registry.resolve(one) is not None)]
            gone.add(digest)
    plan = _plan(registry, table, parts)
    deleted: list[str] = []
    refused: dict[str, str] = {}
    for digest in plan:
        if digest in gone:
            continue
        try:
            if looks or registry.delete(digest):
                deleted.append(digest)
        except RegistryError as error:
            if error.status not in _REFUSED:
                raise
            refused[digest] = error.message
    return Pruned(tuple(deleted), kept, refused)


def _read_tags(registry: Registry) -> dict[str, Document]:
    """Return every tag with its manifest; one that goes meanwhile is left out."""
    names = registry.tags()
    found = side_by_side(registry.fetch, names, registry.transport.access.parallel)
    return {name: one for name, one in zip(names, found, strict=True) if one is not None}


def _plan(
    registry: Registry, table: Mapping[str, Document], parts: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return the manifests to delete: indexes before their parts, so that each is whole or gone.

    :param parts: what each version that goes consists of, itself first.
    """
    subjects = {digest for digests in parts.values() for digest in digests}
    attached = {fallback_tag(digest) + end for digest in subjects for end in ATTACHED}
    staying = {
        digest
        for tag, document in table.items()
        if document.descriptor.digest not in parts and tag not in attached
        for digest in _members(registry, document.descriptor.digest, document)
    }
    # What is attached to a manifest that stays stays with it.
    ends = {fallback_tag(digest) + end for digest in subjects - staying for end in ATTACHED}
    plan = []
    for tag in sorted(ends & table.keys()):
        plan += _members(registry, table[tag].descriptor.digest, table[tag])
    plan += [digest for digests in parts.values() for digest in digests]
    return list(dict.fromkeys(digest for digest in plan if digest not in staying))


def _members(registry: Registry, digest: str, known: Document | None = None) -> list[str]:
    """Return *digest* and the manifests that it leads to."""
    document = known or registry.fetch(digest)
    if document is None:
        return []
    found = [digest]
    value = parsed(document.content, digest)
    value.pop("subject", None)
    for child, is_document in named(value):
        if is_document:
            found += _members(registry, child.digest)
    return found


def _nothing(registry: Registry) -> Document:
    """Store a manifest of no content that is like no other, and return it."""
    content = b"{}"
    blob = Descriptor(EMPTY, sha256_bytes(content), len(content))
    registry.put_blob(blob, lambda: io.BytesIO(content))
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.kiln.nothing",
        "config": blob.as_json(),
        "layers": [blob.as_json()],
        "annotations": {"kiln.immutable.removal": str(uuid.uuid4())},
    }
    manifest = canonical.encode(value)
    return Document(Descriptor(MANIFEST, sha256_bytes(manifest), len(manifest)), manifest)
