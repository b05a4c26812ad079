# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Push of a whole version: what is there already stays, the tag comes last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...core.errors import DriverError
from ..descriptor import Descriptor
from ..layout import Layout
from .attachments import referrer_entry, union
from .client import Document, Registry, Sent
from .family import Family, attached_tags, family, side_by_side, stored


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did, or would do.

    :param blobs: each blob, and whether it was sent, mounted or skipped.
    :param documents: digests of the manifests that were not there.
    :param tags: the tags that were not there or named something else.
    """

    blobs: tuple[Sent, ...]
    documents: tuple[str, ...]
    tags: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether the registry had not all of it."""
        return bool(self.documents or self.tags or any(b.how != "skipped" for b in self.blobs))

    def bytes(self, how: str) -> int:
        """Bytes of the blobs that were ``sent``, ``mounted`` or ``skipped``."""
        return sum(one.blob.size for one in self.blobs if one.how == how)

    @property
    def wire(self) -> int:
        """Bytes of blobs that went out, with those that had to be repeated."""
        return sum(one.wire for one in self.blobs)


def push(
    registry: Registry,
    layout: Layout,
    index: str,
    tag: str,
    *,
    sources: Mapping[str, str] | None = None,
    looks: bool = False,
) -> Pushed:
    """Bring the version with the index of that digest, and what is attached to it, to *registry*.

    Order: blobs, side by side; manifests, each after those that it names; attachments
    (signatures, attestations) under their tags; the index; its tag. Killed at any point, it
    leaves blobs and manifests that no tag names, and the next push finds them there.

    :param tag: for the index. One that names something else is an error: versions do not change.
    :param sources: names of other repositories of the registry that may have a blob, by digest.
    :param looks: only say what would be done; what would be mounted counts as sent.

    Every blob is verified while it is read from *layout*: LostBlob names one that is damaged.
    """
    whole = family(stored(layout, index), layout.read)
    there = registry.resolve(tag)
    if there is not None and there.digest != index:
        raise DriverError(
            f"{registry.repository}:{tag} is {there.digest}, and not {index}.",
            hint="A version never changes: find out who pushed what, and remove what is wrong.",
        )
    attached = _attachments(registry, layout, whole, looks=looks)
    blobs = {**whole.blobs}
    for one in attached.values():
        blobs.update(one.blobs)
    sent = _send_blobs(registry, layout, blobs, sources or {}, looks=looks)
    documents = list(whole.documents[:-1])
    for one in attached.values():
        documents += one.documents[:-1]
    new = _send_documents(registry, documents, looks=looks)
    tags = []
    for name, one in attached.items():
        tags.append(name)
        if not looks:
            registry.put(one.root, name)
    if not looks:
        _tell_subjects(registry, whole)
    if there is None:
        if registry.resolve(index) is None:
            new.append(index)
        tags.append(tag)
        if not looks:
            registry.put(whole.root, tag)
    return Pushed(tuple(sent), tuple(new), tuple(tags))


def _attachments(
    registry: Registry, layout: Layout, whole: Family, *, looks: bool
) -> dict[str, Family]:
    """Return what is attached to *whole* in the store and not, or not as such, in the registry."""
    found: dict[str, Family] = {}
    tags = layout.tags()
    for name in attached_tags(whole):
        if name not in tags:
            continue
        ours = family(tags[name], layout.read)
        theirs = registry.fetch(name)
        if theirs is None:
            found[name] = ours
        elif theirs.descriptor.digest != ours.root.descriptor.digest:
            merged = union(registry, layout, ours.root, theirs, looks=looks)
            if merged is not None:
                found[name] = merged
    return found


def _send_blobs(
    registry: Registry,
    layout: Layout,
    blobs: Mapping[str, Descriptor],
    sources: Mapping[str, str],
    *,
    looks: bool,
) -> list[Sent]:
    def bring(blob: Descriptor) -> Sent:
        if looks:
            return Sent(blob, "skipped" if registry.has_blob(blob) else "sent")
        return registry.put_blob(
            blob, lambda: layout.open(blob), mount_from=sources.get(blob.digest, "")
        )

    # The largest first: the last to end decides.
    ordered = sorted(blobs.values(), key=lambda blob: -blob.size)
    return side_by_side(bring, ordered, registry.transport.access.parallel)


def _send_documents(registry: Registry, documents: list[Document], *, looks: bool) -> list[str]:
    new = []
    for document in documents:
        if registry.resolve(document.descriptor.digest) is None:
            new.append(document.descriptor.digest)
            if not looks:
                registry.put(document)
    return new


def _tell_subjects(registry: Registry, whole: Family) -> None:
    """Enter manifests that name a subject into its list, where the registry keeps none."""
    for document in whole.documents:
        entry = referrer_entry(document)
        if entry is not None:
            subject, listed = entry
            known = {one.digest for one in registry.referrers(subject)}
            if document.descriptor.digest not in known:
                registry.add_referrer(subject, listed)
