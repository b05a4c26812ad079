# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collection of garbage: what of a home nothing needs any more, and removing it.

Safe beside bakes, because who collects has the store alone (see store_lock.py); safe against a
death at any point, because it reads all before it removes anything, and removes records before
the blobs that they lead to: a record without its blob never lies about for a bake to trust, and a
blob without a record is found by the next collection.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DriverError
from ..core.files import sync_directory
from ..oci.references import closure
from .record_files import RecordFile, half_written, lock_notes, record_files, unclaimed_notes
from .records import Cache

DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Removal:
    """A file that can go.

    :param kind: record, blob or leftover.
    :param label: what it is, for a reader.
    """

    kind: str
    path: Path
    label: str
    size: int

    def as_json(self) -> dict[str, Any]:
        """The removal as JSON-able values."""
        return {"kind": self.kind, "label": self.label, "bytes": self.size}


def spare_records(
    records: Iterable[RecordFile],
    *,
    versions: Mapping[str, str],
    pinned: Mapping[str, object],
    now: float,
    days: float,
) -> list[RecordFile]:
    """Return the records that nothing needs. Pure.

    :param versions: what the catalog names, ``NAME NUMBER`` and the digest of its index.
    :param pinned: digests of the blobs that stay for the sake of versions and tags.
    :param now: seconds since 1970.
    :param days: records of bases and layers that were of no use for so long may go.
    """
    records = list(records)
    last = [r.bake for r in records if r.kind == "latest" and r.bake is not None]
    # What the next bake of an image starts from stays for as long as the image has the version.
    in_use = {
        key.removeprefix("sha256:")
        for bake in last
        if versions.get(f"{bake.name} {bake.version}") == bake.index
        for key in bake.layer_keys
    }

    def is_spare(record: RecordFile) -> bool:
        if record.flaw is not None:
            return True
        if record.kind == "latest":
            return False
        if record.bake is not None:
            return versions.get(f"{record.bake.name} {record.bake.version}") != record.bake.index
        if now - record.used < days * DAY:
            return False
        if record.kind == "bases":
            # Its blobs stay anyway, and what it takes to make it again may have changed.
            return not all(digest in pinned for digest in record.blobs)
        return record.key not in in_use

    return [record for record in records if is_spare(record)]


def plan_collection(
    cache: Cache, versions: Mapping[str, str], *, now: float, days: float
) -> list[Removal]:
    """Return what can go, in the order in which it must be removed; only reads.

    Only for who has the store alone. Raises DriverError when it cannot be known what a version or
    a tag needs: nothing is removed then.
    """
    layout = cache.layout
    if not (layout.root / "index.json").exists():
        return []
    named = {f"version {name}": index for name, index in versions.items()}
    named |= {f"tag {name}": found.digest for name, found in layout.tags().items()}
    pinned: dict[str, int | None] = {}
    for name, index in named.items():
        found = closure(layout, index)
        if found.unread:
            raise DriverError(
                f"What the {name} needs cannot be known: {' '.join(found.unread.values())}",
                hint="Run kiln.immutable.fsck, and bake the image again; or take the version out"
                " of the catalog (git rm), when it may be lost.",
            )
        pinned |= found.sizes
    records = list(record_files(cache))
    spare = spare_records(records, versions=versions, pinned=pinned, now=now, days=days)
    gone = {record.path for record in spare}
    kept = {*pinned, *(d for r in records if r.path not in gone for d in r.blobs)}
    removals = [Removal("record", r.path, r.label, r.size) for r in spare]
    removals += [_leftover(path) for path in half_written(cache)]
    for record in spare:
        note = cache.use_path(record.kind, record.key)
        if note.exists():
            removals.append(_leftover(note))
    removals += [_leftover(path) for path in unclaimed_notes(cache)]
    for digest in layout.digests():
        if digest not in kept:
            path = layout.path(digest)
            removals.append(Removal("blob", path, digest, path.stat().st_size))
    # What a layer lists, a lock says, a draft of bills holds, or which disks an image had, is found
    # out again when somebody asks: age is enough to go by.
    aging = [*layout.quarantine.glob("*"), *layout.listings.glob("*"), *lock_notes(cache)]
    aging += [*(cache.root / "disks").glob("*.json"), *(cache.root / "bills").glob("*")]
    for path in sorted(aging):
        if now - path.stat().st_mtime >= days * DAY:
            removals.append(_leftover(path))
    return removals


def collect(removals: Iterable[Removal], *, remove: Callable[[Path], None] = os.unlink) -> None:
    """Remove what plan_collection found, in its order, while the store is still held alone.

    :param remove: removes one file.
    """
    removals = list(removals)
    blobs = [removal for removal in removals if removal.kind == "blob"]
    first = [removal for removal in removals if removal.kind != "blob"]
    for removal in first:
        remove(removal.path)
    # No blob may be gone from the disk, should the power fail, while a record of it is there.
    for folder in sorted({removal.path.parent for removal in first}):
        sync_directory(folder)
    for removal in blobs:
        remove(removal.path)


def _leftover(path: Path) -> Removal:
    return Removal("leftover", path, path.name, path.stat().st_size)
