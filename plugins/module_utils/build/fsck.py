# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a home is whole: every blob by its digest, and every reference by what it leads to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.files import sync_directory
from ..oci.damage import examine
from ..oci.layout import Layout
from ..oci.references import Closure, closure
from .record_files import RecordFile, lock_notes, record_files
from .records import Cache


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a home that is not as it should be.

    :param kind: blob, record, tag or version.
    :param subject: what it is about: a digest, or a name.
    :param what: what is wrong with it, the end of a sentence that begins with the subject.
    :param needed_by: for a blob, all that needs it.
    """

    kind: str
    subject: str
    what: str
    needed_by: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The problem as a person reads it."""
        needed = f" Needed by {', '.join(self.needed_by)}." if self.needed_by else ""
        return f"{self.kind} {self.subject} {self.what}.{needed}"

    def as_json(self) -> dict[str, Any]:
        """The problem as JSON-able values."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "sentence": self.sentence,
            "needed_by": list(self.needed_by),
        }


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look at a home came to.

    :param damaged: digests of blobs to set aside.
    :param records: files of records that cannot be used.
    :param tags: names in the store's index that lead to nothing.
    :param incomplete: versions of the catalog that lack a blob.
    """

    problems: tuple[Problem, ...]
    damaged: tuple[str, ...]
    records: tuple[Path, ...]
    tags: tuple[str, ...]
    incomplete: tuple[str, ...]
    blobs: int
    bytes: int


def look(
    cache: Cache, versions: Mapping[str, str], *, suspects: Iterable[str] | None = None
) -> Findings:
    """Examine the store and the cache.

    :param versions: what the catalog names: the digest of each version's index.
    :param suspects: digests of the blobs to read through, by default all that there are. Whether
        a blob is there at all is always looked at.
    """
    layout = cache.layout
    there = layout.digests()
    flaws = _flaws(layout, there if suspects is None else [d for d in there if d in {*suspects}])
    sizes = {digest: layout.path(digest).stat().st_size for digest in there}
    tags = {name: descriptor.digest for name, descriptor in _tags(layout).items()}
    records = list(record_files(cache))
    bakes = {record.path: record.bake.index for record in records if record.bake is not None}
    indexes = {*versions.values(), *tags.values(), *bakes.values()}
    closures = {index: closure(layout, index) for index in indexes}

    def lost(digest: str, size: int | None) -> str | None:
        if digest in flaws:
            return flaws[digest]
        if digest not in sizes:
            return "is missing"
        if size is not None and size != sizes[digest]:
            return f"has {sizes[digest]} bytes instead of {size}"
        return None

    def gaps(found: Closure) -> dict[str, str]:
        """Why each blob of a closure that cannot be used cannot."""
        named = {digest: lost(digest, size) for digest, size in found.sizes.items()}
        unread = {digest: f"cannot be read: {why}" for digest, why in found.unread.items()}
        return {**unread, **{digest: why for digest, why in named.items() if why is not None}}

    broken = {index: gaps(found) for index, found in closures.items()}
    needs: dict[str, tuple[str, list[str]]] = {d: (how, []) for d, how in flaws.items()}

    def need(by: str, found: Mapping[str, str]) -> None:
        for digest, why in found.items():
            needs.setdefault(digest, (why, []))[1].append(by)

    for name, index in versions.items():
        need(f"version {name}", broken[index])
    for name, index in tags.items():
        need(f"tag {name}", broken[index])
    unusable: dict[Path, str] = {}
    for record in records:
        why = _record_gaps(record, broken, lost)
        if record.flaw is None and record.kind != "latest":
            need(record.label, why)
        if record.flaw is not None or (why and record.kind != "latest"):
            unusable[record.path] = record.flaw or ""
    problems = [
        Problem("blob", digest, why, tuple(sorted(by))) for digest, (why, by) in needs.items()
    ]
    for path, flaw in lock_notes(cache).items():
        if flaw is not None:
            unusable[path] = flaw
            note = f"{path.parent.name} {path.stem[:12]}"
            problems.append(Problem("record", note, f"({path}) is of no use: {flaw}"))
    problems += [
        Problem("record", record.label, f"({record.path}) is of no use: {record.flaw}")
        for record in records
        if record.flaw is not None
    ]
    return Findings(
        problems=tuple(sorted(problems, key=lambda one: (one.kind, one.subject))),
        damaged=tuple(sorted(flaws)),
        records=tuple(unusable),
        tags=tuple(name for name, index in sorted(tags.items()) if index in broken[index]),
        incomplete=tuple(sorted(name for name, index in versions.items() if broken[index])),
        blobs=len(there),
        bytes=sum(sizes.values()),
    )


def repair(cache: Cache, findings: Findings, *, remove: Callable[[Path], None] = os.unlink) -> None:
    """Set damaged blobs aside, and drop the records and tags that lead to what is not there.

    Only for who has the store alone. Records go first: whenever this is interrupted, what is
    left refers to no less than before, and a next run goes on.
    """
    for path in findings.records:
        remove(path)
    for folder in {path.parent for path in findings.records}:
        sync_directory(folder)
    for name in findings.tags:
        cache.layout.untag(name)
    for digest in findings.damaged:
        cache.layout.set_aside(digest)


def _flaws(layout: Layout, digests: Sequence[str]) -> dict[str, str]:
    """Read blobs through, several at once (hashing lets other threads run); say what is wrong."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        examined = pool.map(lambda digest: examine(layout.path(digest), digest), digests)
        return {
            digest: f"is damaged: {found.flaw}"
            for digest, found in zip(digests, examined, strict=True)
            if found is not None and found.flaw is not None
        }


def _tags(layout: Layout) -> Mapping[str, Any]:
    # A home in which nothing was baked yet has no index.
    return layout.tags() if (layout.root / "index.json").exists() else {}


def _record_gaps(
    record: RecordFile,
    broken: Mapping[str, Mapping[str, str]],
    lost: Callable[[str, int | None], str | None],
) -> dict[str, str]:
    if record.bake is not None:
        return dict(broken[record.bake.index])
    named = {digest: lost(digest, size) for digest, size in record.blobs.items()}
    return {digest: why for digest, why in named.items() if why is not None}
