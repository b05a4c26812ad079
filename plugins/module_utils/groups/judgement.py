# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a group is wanted to be, and what that means for each instance that is there."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .definition_model import GroupDefinition
from .model import Health, Instance, Life, Observed, Release
from .policy import Bounds, Policy, bounds

_DAY = 86_400.0
_HOUR = 3_600.0
_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the group is to become: so many instances of one release, started with one setting.

    :param surge_first: on the way back nothing that serves is taken away before its successor is
        there, whatever the policy lets be missing.
    :param values: :attr:`Instance.values` of those that can stay; None is any.
    """

    group: str
    release: Release
    settings: str
    size: int
    policy: Policy
    stop_first: bool = False
    drain_time: float = 30.0
    hosts: tuple[str, ...] = ("",)
    surge_first: bool = False
    values: str | None = None

    @classmethod
    def of(
        cls, definition: GroupDefinition, release: Release, *, surge_first: bool = False
    ) -> Wanted:
        """Return what *definition* asks for with *release*."""
        return cls(
            group=definition.name,
            release=release,
            settings=definition.settings,
            size=definition.size,
            policy=definition.policy,
            stop_first=definition.stop_first,
            drain_time=definition.drain_time,
            hosts=definition.backend.hosts or ("",),
            surge_first=surge_first,
        )

    def runs(self, one: Instance) -> bool:
        """Whether *one* is what the group is to become, healthy or not."""
        same = (one.digest, one.settings) == (self.release.digest, self.settings)
        return same and self.fits(one)

    def fits(self, one: Instance) -> bool:
        """Whether *one* was given the values that the definition's references name now."""
        return self.values is None or one.values == self.values

    @property
    def bounds(self) -> Bounds:
        """The numbers that hold at every instant of getting there."""
        found = bounds(self.policy, self.size, stop_first=self.stop_first)
        if self.surge_first and found.surge:
            return Bounds(found.size, found.surge, found.size, min(found.batch, found.surge))
        return found


def other_values(before: str, after: str) -> str:
    """Return in words which of the values that are referred to are others."""
    old = dict(word.split("=", 1) for word in before.split())
    new = dict(word.split("=", 1) for word in after.split())
    if "key" in old and old["key"] != new.get("key", old["key"]):
        return "the loss of the key of its secrets' digests"
    names = sorted(one for one in {*old, *new} - {"key"} if old.get(one) != new.get(one))
    return f"another value of {', '.join(one.replace(':', ' ') for one in names)}"


class Fate(StrEnum):
    """What becomes of an instance."""

    KEEP = "keep"
    REPLACE = "replace"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The fate of one instance, and why."""

    instance: Instance
    fate: Fate
    reason: str = ""


def judge(
    observed: Observed,
    wanted: Wanted,
    failed: Mapping[str, str] | None = None,
    started: Collection[str] = (),
) -> tuple[Verdict, ...]:
    """Return the fate of each instance, in the order observed. Linear in their number.

    :param failed: instances that a running rotation has given up, and why.
    :param started: instances that it started: it gives them up itself, and counts that.
    """
    known = failed or {}
    reasons = [
        known.get(one.id) or _reason(one, wanted, observed.now, one.id in started)
        for one in observed.instances
    ]
    keep = [one for one, why in zip(observed.instances, reasons, strict=True) if not why]
    surplus = _surplus(keep, wanted)
    # Only as many are replaced as the group has places; the rest of the outdated ones goes.
    places = wanted.size - (len(keep) - len(surplus))
    verdicts = []
    for one, why in zip(observed.instances, reasons, strict=True):
        if one.id in surplus:
            text = f"the group is to have {_count(wanted.size)}"
            verdicts.append(Verdict(one, Fate.REMOVE, text))
        elif not why:
            verdicts.append(Verdict(one, Fate.KEEP))
        elif places > 0:
            places -= 1
            verdicts.append(Verdict(one, Fate.REPLACE, why))
        else:
            verdicts.append(Verdict(one, Fate.REMOVE, why))
    return tuple(verdicts)


def _reason(one: Instance, wanted: Wanted, now: float, watched: bool) -> str:
    """Return why *one* cannot stay, empty when it can."""
    if one.digest != wanted.release.digest:
        return f"image digest forces replacement ({one.version} -> {wanted.release.version})"
    if one.settings != wanted.settings:
        return "settings force replacement"
    if not wanted.fits(one):
        return f"{other_values(one.values, wanted.values or '')} forces replacement"
    if one.tainted:
        return one.tainted
    if one.life is Life.STOPPED:
        status = "" if one.exit_status is None else f" with status {one.exit_status}"
        return f"it ended{status}"
    if one.host not in wanted.hosts:
        return f"its host {one.host or 'of the client'} is none of the group's any more"
    if wanted.stop_first and (one.slot is None or one.slot >= wanted.size):
        return f"the group is to have {_count(wanted.size)}"
    late = now - one.created > wanted.policy.start_timeout
    if one.health is Health.FAILING and late and not watched:
        return f"it is unhealthy{f': {one.detail}' if one.detail else ''}"
    limit = lifetime(one.id, wanted.policy)
    if limit is not None and now - one.created > limit:
        return f"older than {span(wanted.policy.max_lifetime or limit)}"
    return ""


def lifetime(instance: str, policy: Policy) -> float | None:
    """Return how old *instance* may get: less than others by its own part of the jitter."""
    if policy.max_lifetime is None:
        return None
    drawn = int.from_bytes(hashlib.sha256(instance.encode()).digest()[:4], "big") / 2**32
    return policy.max_lifetime * (1 - policy.jitter / 100 * drawn)


def _surplus(keep: Sequence[Instance], wanted: Wanted) -> frozenset[str]:
    """Return which of those that could stay are too many: the idle first, then the oldest."""
    extra = len(keep) - wanted.size
    if extra <= 0:
        return frozenset()
    order = sorted(keep, key=lambda one: (one.serving, one.created, one.id))
    return frozenset(one.id for one in order[:extra])


def span(seconds: float) -> str:
    """Return a time in the unit that fits: ``30 d``, ``4 h``, ``12 min`` or ``8 s``."""
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit and (seconds % unit == 0 or seconds >= 3 * unit):
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"


def _count(number: int) -> str:
    return f"{number} instance{'' if number == 1 else 's'}"
