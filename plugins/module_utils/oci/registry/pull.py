# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull of a whole version: what is here already stays, the name comes last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from ...core.errors import DriverError
from ..descriptor import Descriptor
from ..layout import Layout
from .attachments import union
from .client import Document, Registry
from .family import Family, attached_tags, family, side_by_side


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did, or would do.

    :param fetched: the blobs that were not here.
    :param skipped: those that were.
    :param documents: digests of the manifests that were not here.
    :param tags: names that were given in the layout.
    """

    fetched: tuple[Descriptor, ...]
    skipped: tuple[Descriptor, ...]
    documents: tuple[str, ...]
    tags: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether the layout had not all of it."""
        return bool(self.fetched or self.documents or self.tags)

    @property
    def bytes(self) -> int:
        """Bytes of the blobs that were not here."""
        return sum(blob.size for blob in self.fetched)


def pull(
    registry: Registry, layout: Layout, reference: str, name: str, *, looks: bool = False
) -> Pulled:
    """Take the version that *reference* names, with what is attached to it, into *layout*.

    Order: blobs, side by side; manifests, each after those that it names; names. Killed at any
    point, it leaves blobs that nothing names, and the next pull finds them here.

    :param reference: the digest of the index, or a tag.
    :param name: what the layout will call it.
    :param looks: only say what would be done.

    RegistryError when the registry has it not, or gives other bytes than their digest says;
    these are not kept.
    """
    root = _root(registry, reference)
    whole = family(root.descriptor, partial(_read, registry, layout, root=root))
    # To look, there need not be a layout yet.
    known = layout.tags() if layout.root.is_dir() or not looks else {}
    attached = _attachments(registry, layout, whole, known, looks=looks)
    families = {**attached, name: whole}
    blobs: dict[str, Descriptor] = {}
    documents: dict[str, Document] = {}
    for found in families.values():
        blobs.update(found.blobs)
        documents.update({one.descriptor.digest: one for one in found.documents})
    here = {digest for digest, blob in blobs.items() if _has(layout, blob)}
    missing = sorted((b for d, b in blobs.items() if d not in here), key=lambda blob: -blob.size)
    result = Pulled(
        tuple(missing),
        tuple(blobs[digest] for digest in sorted(here)),
        tuple(digest for digest in documents if not layout.has(digest)),
        tuple(tag for tag, f in families.items() if _names(known, tag) != f.root.descriptor.digest),
    )
    if not looks:
        side_by_side(
            lambda blob: registry.take(blob, layout), missing, registry.transport.access.parallel
        )
        for document in documents.values():
            layout.put(document.content, document.descriptor.media_type)
        for tag in result.tags:
            layout.tag(tag, families[tag].root.descriptor)
    return result


def _root(registry: Registry, reference: str) -> Document:
    found = registry.fetch(reference)
    if found is None:
        raise DriverError(
            f"{registry.repository} has no {reference}.",
            hint="Push it there first: kiln.immutable.image_push.",
        )
    return found


def _read(registry: Registry, layout: Layout, wanted: Descriptor, root: Document) -> bytes:
    if wanted.digest == root.descriptor.digest:
        return root.content
    if _has(layout, wanted):
        return layout.read(wanted)
    found = registry.fetch(wanted.digest)
    if found is None:
        raise DriverError(
            f"{registry.repository} has {root.descriptor.digest}, but not {wanted.digest}, which"
            " belongs to it.",
            hint="Push the version again.",
        )
    return found.content


def _attachments(
    registry: Registry,
    layout: Layout,
    whole: Family,
    known: Mapping[str, Descriptor],
    *,
    looks: bool,
) -> dict[str, Family]:
    tags = attached_tags(whole)
    found = side_by_side(registry.fetch, tags, registry.transport.access.parallel)
    families = {}
    for tag, one in zip(tags, found, strict=True):
        if one is not None:
            theirs = family(one.descriptor, partial(_read, registry, layout, root=one))
            families[tag] = _joined(registry, layout, known.get(tag), theirs, looks=looks)
    return families


def _joined(
    registry: Registry, layout: Layout, here: Descriptor | None, theirs: Family, *, looks: bool
) -> Family:
    """Return *theirs* with what only this layout has: a signature that was not pushed yet."""
    if here is None or here.digest == theirs.root.descriptor.digest:
        return theirs
    try:
        ours = Document(here, layout.read(here))
        merged = union(registry, layout, ours, theirs.root, ours_counts=False, looks=looks)
    except DriverError:
        return theirs  # What is damaged here is no reason to go without theirs.
    if merged is None:
        return theirs
    return Family(merged.documents, {**theirs.blobs, **merged.blobs})


def _has(layout: Layout, blob: Descriptor) -> bool:
    try:
        return layout.path(blob.digest).stat().st_size == blob.size
    except FileNotFoundError:
        return False


def _names(known: dict[str, Descriptor], tag: str) -> str:
    return known[tag].digest if tag in known else ""
