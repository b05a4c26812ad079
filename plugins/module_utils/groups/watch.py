# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one observation does not tell: since when things are so, and what has failed meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

from .judgement import Wanted
from .model import Health, Instance, Life, Observed, Traffic


@dataclass(slots=True)
class Watch:
    """The memory of one run. Times are of the run's own clock, which only goes up.

    A run that is started again begins with an empty one: drains and waits begin anew, which costs
    time and nothing else.

    :param passing_since: instances that pass their checks, and since when without a break.
    :param failing_since: the same for those that fail them.
    :param draining_since: instances that get no new requests.
    :param seen: instances, and when they were first seen.
    :param started: instances that this run started.
    :param drained: instances that this run took the traffic from.
    :param stopped: instances that this run stopped.
    :param healthy_once: instances that have passed at some time.
    :param failed: instances of the wanted release that were given up, and why.
    :param shaken: old instances that stopped serving although nobody touched them, and why.
    """

    passing_since: dict[str, float] = field(default_factory=dict)
    failing_since: dict[str, float] = field(default_factory=dict)
    draining_since: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    healthy_once: set[str] = field(default_factory=set)
    drained: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    shaken: dict[str, str] = field(default_factory=dict)
    # Healthy ones as they were seen last: as long as they are the same there is nothing new.
    _settled: dict[str, Instance] = field(default_factory=dict)

    def update(self, observed: Observed, wanted: Wanted, now: float) -> list[str]:
        """Take *observed* in; return the instances that are given up from now on."""
        given_up = []
        for one in observed.instances:
            if self._settled.get(one.id) is one:
                continue
            self.seen.setdefault(one.id, now)
            _since(self.passing_since, one.id, now, one.health is Health.PASSING)
            _since(self.failing_since, one.id, now, one.health is Health.FAILING)
            _since(self.draining_since, one.id, now, one.traffic is Traffic.DRAIN)
            if wanted.runs(one):
                why = self._failure(one, wanted, now)
                if why and one.id not in self.failed:
                    self.failed[one.id] = why
                    given_up.append(one.id)
            elif one.id in self.healthy_once and not self._touched(one.id):
                self._watch_old(one)
            if one.health is Health.PASSING:
                self.healthy_once.add(one.id)
                self._settled[one.id] = one
            else:
                self._settled.pop(one.id, None)
        return given_up

    def forget_failures(self) -> None:
        """Begin a rotation to another release with what is known of the instances."""
        self._settled.clear()
        self.failed.clear()
        self.drained.clear()
        self.shaken.clear()

    def _failure(self, one: Instance, wanted: Wanted, now: float) -> str:
        """Return why an instance of the wanted release is given up, empty when it is not."""
        if self._touched(one.id):
            return ""
        if one.life is Life.STOPPED:
            status = "" if one.exit_status is None else f" with status {one.exit_status}"
            known = one.id in self.started or one.id in self.healthy_once
            after = "after it had been healthy" if one.id in self.healthy_once else "at its start"
            return f"it ended{status} {after}" if known else ""
        if one.id in self.started and one.restarts > 0:
            return f"it ended and was started again {one.restarts} times"
        detail = f": {one.detail}" if one.detail else ""
        if one.id in self.healthy_once:
            return f"it became unhealthy{detail}" if one.health is Health.FAILING else ""
        limit = wanted.policy.start_timeout
        if now - self.seen[one.id] >= limit:
            return f"it was not healthy within {limit:g} s{detail}"
        return ""

    def _touched(self, instance: str) -> bool:
        return instance in self.drained or instance in self.stopped

    def _watch_old(self, one: Instance) -> None:
        """Note an old instance that fails by itself, and forget it when it recovers."""
        if one.life is Life.STOPPED:
            self.shaken.setdefault(one.id, "ended")
        elif one.health is Health.FAILING:
            self.shaken.setdefault(one.id, "became unhealthy")
        elif one.health is Health.PASSING:
            self.shaken.pop(one.id, None)


def _since(times: dict[str, float], key: str, now: float, holds: bool) -> None:
    if holds:
        times.setdefault(key, now)
    else:
        times.pop(key, None)
