# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing down what an instance group runs: each change is a commit of the catalog.

A rotation records a group when it begins (the wanted version and the one that runs still), and
when it is over, whichever way it went. From then on retention leaves alone what the group needs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..core.errors import DriverError
from .documents import read_document, render_time, write_document
from .group_record import GroupRecord
from .repository import Catalog
from .transaction import Change

_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_KEPT_PREVIOUS = 20
"""Versions before that a record keeps; Git has them all."""


@dataclass(frozen=True, slots=True)
class GroupState:
    """What was seen of a group.

    :param running: numbers of the versions that run, the wanted one first.
    :param instances: how many there are, of whichever version.
    :param channel: the channel that it follows, None when it is given versions.
    """

    name: str
    image: str
    running: Sequence[str]
    instances: int
    channel: str | None = None


def plan_record(
    state: GroupState, before: GroupRecord | None, *, digest: str, by: str, at: str
) -> GroupRecord:
    """Return the record of a group that is as *state* says; *before* when nothing is new. Pure.

    :param before: the record until now, None for a new group. What it says of another image
        counts no more.
    :param digest: of the index of the wanted version.
    :param at: the time now, RFC 3339, UTC.
    """
    old = before if before is not None and before.image == state.image else None
    running = tuple(dict.fromkeys(state.running))
    settled = old.settled if old is not None else None
    previous = old.previous if old is not None else ()
    if len(running) == 1 and settled != running[0]:
        if settled is not None:
            previous = (settled, *previous)
        settled = running[0]
        previous = tuple(one for one in dict.fromkeys(previous) if one != settled)
    record = GroupRecord(
        name=state.name,
        image=state.image,
        running=running,
        previous=previous[:_KEPT_PREVIOUS],
        channel=state.channel,
        updated=at,
        digest=digest,
        settled=settled,
        since=old.since if old is not None and old.running == running else at,
        instances=state.instances,
        by=by,
    )
    if before is not None and replace(record, updated=before.updated, by=before.by) == before:
        return before
    return record


def record_group(
    catalog: Catalog, state: GroupState, *, reason: str = "", look: bool = False
) -> tuple[GroupRecord, bool]:
    """Record what a group runs, and return the record and whether it is new.

    :param reason: why the group runs this now; kept in the commit.
    :param look: only say what would be recorded.

    Raises DriverError when a version is none of the catalog, or the catalog cannot be written.
    """
    made: list[tuple[GroupRecord, bool]] = []

    def decide() -> Change | None:
        before = group(catalog, state.name)
        numbers = [_index(catalog, state.image, number) for number in state.running]
        if not numbers:
            raise DriverError(f"The group {state.name} runs no version.")
        record = plan_record(
            state,
            before,
            digest=numbers[0],
            by=catalog.who(),
            at=render_time(catalog.now()),
        )
        made.append((record, record is not before))
        if record is before:
            return None
        files = {catalog.group_path(state.name): write_document(record.as_document())}
        return Change(files, _message(record, reason))

    if look:
        catalog.pull()
        decide()
    else:
        catalog.change(decide)
    return made[-1]


def forget_group(catalog: Catalog, name: str, *, reason: str = "", look: bool = False) -> bool:
    """Take away the record of a group that is no more; tell whether there was one."""
    there: list[bool] = []

    def decide() -> Change | None:
        there.append(group(catalog, name) is not None)
        if not there[-1]:
            return None
        why = f"\n\n{reason}\n" if reason else "\n"
        return Change({catalog.group_path(name): None}, f"The group {name} is no more{why}")

    if look:
        catalog.pull()
        decide()
    else:
        catalog.change(decide)
    return there[-1]


def group(catalog: Catalog, name: str) -> GroupRecord | None:
    """Return the record of one group, None when there is none."""
    if _NAME.fullmatch(name) is None:
        raise DriverError(
            f"{name!r} is no name of a group.",
            hint="Lower-case letters and digits, with . _ or - between them.",
        )
    path = catalog.root / catalog.group_path(name)
    document = read_document(path)
    return None if document is None else GroupRecord.from_document(document, str(path))


def _index(catalog: Catalog, image: str, number: str) -> str:
    """Return the digest of a version's index; a pruned one may still run."""
    version = catalog.version(image, number) or catalog.tombstones(image).get(number)
    if version is None:
        raise DriverError(
            f"The catalog has no version {number} of {image}.",
            hint="Groups run versions of the catalog: bake it, or pull the catalog.",
        )
    return version.index


def _message(record: GroupRecord, reason: str) -> str:
    which = " and ".join(record.running)
    counted = f"{record.instances} instance{'' if record.instances == 1 else 's'}"
    why = f"\n\n{reason}\n" if reason else "\n"
    return f"{record.name} runs {record.image} {which} ({counted}){why}"
