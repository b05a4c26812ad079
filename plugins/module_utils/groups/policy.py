# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy of an instance group: how many at a time, how long, and what if it goes wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

MIN_READY = 10.0
"""Seconds: what does not run as it should mostly ends or fails its checks sooner than that."""


class Strategy(StrEnum):
    """In which order the instances of a new version take over."""

    ROLLING = "rolling"
    CANARY = "canary"
    BLUE_GREEN = "blue_green"


class OnFailure(StrEnum):
    """What happens to a rotation that failed."""

    ROLLBACK = "rollback"
    PAUSE = "pause"
    STOP = "stop"


class Phase(StrEnum):
    """What a hook does to the state that old and new instances share.

    After a contract step the old version cannot work any more, so nothing goes back behind it
    by itself.
    """

    EXPAND = "expand"
    CONTRACT = "contract"


@dataclass(frozen=True, slots=True)
class Amount:
    """A count of instances, or a percentage of the group's size."""

    number: int
    percent: bool = False

    def of(self, size: int, *, up: bool) -> int:
        """Return the count in a group of *size*; a part of an instance counts as one if *up*."""
        if not self.percent:
            return self.number
        exact = self.number * size / 100
        return math.ceil(exact) if up else math.floor(exact)

    def __str__(self) -> str:
        return f"{self.number}%" if self.percent else str(self.number)


@dataclass(frozen=True, slots=True)
class CanaryStep:
    """A part of the traffic, in percent, and for how long it stays so. Seconds.

    :param pause: None waits for an approval.
    """

    weight: int
    pause: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Gate:
    """What must hold before a rotation goes on.

    :param kind: ``prometheus``, ``command`` or ``approval``.
    :param at: ``start`` (before the first instance), ``step`` (after each batch, canary step or
        switch) or ``end`` (before the old version is given up).
    :param interval: seconds between two tries within *timeout*.
    :param operator: how the query's value is compared with *threshold*: ``<``, ``<=``, ``>`` or
        ``>=``.
    """

    name: str
    kind: str
    at: str = "step"
    timeout: float = 60.0
    interval: float = 5.0
    url: str = ""
    query: str = ""
    operator: str = "<="
    threshold: float = 0.0
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """How the instances of a group are replaced. Durations in seconds.

    :param max_surge: how many there may be above the size.
    :param max_unavailable: how many below the size may serve.
    :param batch: how many are replaced at a time; None is as many as surge and unavailability let.
    :param min_ready: how long an instance must have been healthy before an old one goes for it;
        one that ends within that time costs the group nothing.
    :param start_timeout: how long an instance may take to get healthy.
    :param bake_time: how long the new version is watched before the old one is given up.
    :param deadline: of a whole rotation; going back has the same time once more.
    :param failure_threshold: so many instances that fail make the rotation fail.
    :param max_lifetime: age at which an instance is replaced; None never.
    :param jitter: part of *max_lifetime*, in percent, that is taken off by the instance's name, so
        that instances that began together do not end together.
    """

    strategy: Strategy = Strategy.ROLLING
    max_surge: Amount = Amount(1)
    max_unavailable: Amount = Amount(0)
    batch: Amount | None = None
    min_ready: float = MIN_READY
    start_timeout: float = 120.0
    bake_time: float = 0.0
    steps: tuple[CanaryStep, ...] = ()
    deadline: float = 1800.0
    failure_threshold: int = 1
    on_failure: OnFailure = OnFailure.ROLLBACK
    max_lifetime: float | None = None
    jitter: int = 10
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """The numbers that hold at every instant, and how many are replaced at a time."""

    size: int
    surge: int
    floor: int
    batch: int

    @property
    def most(self) -> int:
        """How many instances there may be."""
        return self.size + self.surge


def bounds(policy: Policy, size: int, *, stop_first: bool) -> Bounds:
    """Return what *policy* means for a group of *size*.

    A surge of a percentage is rounded up and an unavailability down, so that rounding makes
    nobody's service smaller. An instance that hands its own volume over cannot overlap with the
    next, so *stop_first* takes the surge away.
    """
    surge = 0 if stop_first else policy.max_surge.of(size, up=True)
    if policy.strategy is Strategy.BLUE_GREEN and not stop_first:
        surge = max(surge, size)
    unavailable = min(size, policy.max_unavailable.of(size, up=False))
    if surge == 0 and unavailable == 0:
        unavailable = min(size, 1)  # A percentage that rounds to nothing would never move.
    room = max(1, surge + unavailable)
    batch = room if policy.batch is None else max(1, policy.batch.of(size, up=True))
    return Bounds(size, surge, size - unavailable, min(batch, room))
