# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes with pruned versions: names in the engine and the store, and then the bytes.

Everything here goes by the catalog's tombstones, not by what was pruned a moment ago: what a
killed run left, or another machine pruned, goes with the next.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..module_utils.build.garbage import collect, plan_collection, spare_records
from ..module_utils.build.record_files import record_files
from ..module_utils.build.sealing import reference
from ..module_utils.build.store_lock import store_alone
from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.pruning import Pruning
from ..module_utils.catalog.repository import Catalog
from ..module_utils.catalog.retention import Decision, with_bytes
from ..module_utils.core.errors import DriverError
from ..module_utils.oci.references import closure
from ..module_utils.trust.attachments import attached_tags
from .held_versions import held_versions


def freed(shop: Workshop, pruning: Pruning, *, days: float) -> tuple[Decision, ...]:
    """Return the decisions with the bytes that each frees in this home's store.

    A blob that a young record of the cache needs stays, and so frees nothing.
    """
    layout = shop.layout
    blobs: dict[tuple[str, str], dict[str, int]] = {}
    for one in pruning.decisions:
        index = pruning.versions[one.key].index
        if layout.has(index):
            named = {*closure(layout, index).sizes}
            for tag in attached_tags(layout, sorted(named)):
                named |= closure(layout, layout.tags()[tag].digest).sizes.keys()
            blobs[one.key] = {
                digest: layout.path(digest).stat().st_size for digest in named if layout.has(digest)
            }
    pinned = {d: None for one in pruning.decisions if one.keep for d in blobs.get(one.key, ())}
    records = list(record_files(shop.cache))
    gone = {
        record.path
        for record in spare_records(
            records, versions=pruning.staying, pinned=pinned, now=time.time(), days=days
        )
    }
    held = {digest for record in records if record.path not in gone for digest in record.blobs}
    return with_bytes(pruning.decisions, blobs, held)


def pruned_versions(catalog: Catalog, pruning: Pruning) -> dict[tuple[str, str], str]:
    """Return the index of every version that is pruned, or is going to be."""
    found = {
        (image, number): one.index
        for image in catalog.images()
        for number, one in catalog.tombstones(image).items()
    }
    return found | {(version.image, version.number): version.index for version in pruning.going}


def forget_in_engine(
    shop: Workshop, pruned: Mapping[tuple[str, str], str], *, look: bool
) -> tuple[list[str], list[str]]:
    """Take the names of pruned versions from the engine; return those, and what went wrong.

    The image goes with its last name. One that a container uses keeps its name.
    """
    try:
        there = set(shop.engine.references("kiln/*"))
    except DriverError as error:
        return [], [f"The engine was not cleaned: {error}"]
    removed, problems = [], []
    for image, number in pruned:
        name = reference(image, number)
        if name not in there:
            continue
        try:
            if not look:
                shop.engine.remove_image(name)
            removed.append(name)
        except DriverError as error:
            problems.append(f"{name} stays in the engine: {error}")
    return removed, problems


def forget_in_store(
    shop: Workshop, pruned: Mapping[tuple[str, str], str], staying: Mapping[str, str]
) -> list[str]:
    """Take the tags of pruned versions, and of what is attached to them, from the store."""
    layout = shop.layout
    if not (layout.root / "index.json").exists():
        return []
    there = layout.tags()
    gone = {digest for index in pruned.values() for digest in _documents(shop, index)}
    kept = {digest for index in staying.values() for digest in _documents(shop, index)}
    names = [f"{image}-{number}" for image, number in pruned]
    names += attached_tags(layout, sorted(gone - kept))
    removed = [name for name in names if name in there]
    for name in removed:
        layout.untag(name)
    return removed


def _documents(shop: Workshop, index: str) -> set[str]:
    return set(closure(shop.layout, index).sizes) if shop.layout.has(index) else set()


@dataclass(frozen=True, slots=True)
class Freed:
    """What the home got back: files and bytes."""

    files: int
    bytes: int


def collect_pruned(shop: Workshop, catalog: Catalog, *, days: float, wait: float) -> Freed:
    """Remove what no version, tag or young record needs any more, while no bake goes on."""
    with store_alone(shop.home, timeout=wait):
        numbers = {name: {str(one) for one in catalog.numbers(name)} for name in catalog.images()}
        # Copies of the locks of versions that went: their packages may leave the pool then.
        shop.pool.needed(lambda image: numbers.get(image, set()))
        removals = plan_collection(
            shop.cache, held_versions(shop, catalog), now=time.time(), days=days
        )
        collect(removals)
    return Freed(len(removals), sum(removal.size for removal in removals))
