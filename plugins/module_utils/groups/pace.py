# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many instances may begin and how many may go at one moment: counts alone.

The planner walks through a rotation with it and the engine takes each step with it, so what was
planned is what happens when nothing fails.
"""

from __future__ import annotations

from dataclasses import dataclass

from .policy import Bounds

TOGETHER = 16
"""So many instances start at a time where they replace nothing, whatever the batch is."""


@dataclass(frozen=True, slots=True)
class Counts:
    """A group at one moment.

    :param alive: all instances whose process runs, whatever they run and do.
    :param serving: those that users get answers from.
    :param current: alive ones that can stay.
    :param ready: those of *current* that serve, and have for long enough to be counted on.
    :param young: those of *current* that serve, but not for long enough.
    :param old_serving: serving ones that have to go.
    :param leaving: alive ones that have to go and get no new requests any more.
    """

    alive: int
    serving: int
    current: int
    ready: int
    young: int
    old_serving: int
    leaving: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How many instances may start now, and how many serving ones may be drained."""

    starts: int
    drains: int


def pace(counts: Counts, bounds: Bounds, target: int) -> Pace:
    """Return what may happen now on the way to *target* current instances.

    :param target: how many current ones there are to be; below the size, so many old ones stay.
    """
    pending = counts.current - counts.ready - counts.young
    batch = bounds.batch if counts.current < counts.alive else max(bounds.batch, TOGETHER)
    starts = min(
        bounds.most - counts.alive, target - counts.current, batch - pending - counts.young
    )
    stay = bounds.size - target
    # A young instance answers, but what it answers for may be gone in a moment.
    spare = counts.serving - counts.young - bounds.floor
    drains = min(spare, counts.old_serving - stay, bounds.batch - counts.leaving)
    if counts.ready >= target and counts.young == 0:
        # All that was wanted is there: what is left goes at once.
        drains = min(spare, counts.old_serving - stay)
    return Pace(max(0, starts), max(0, drains))
