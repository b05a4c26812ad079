# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done next with a group, from one observation of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .judgement import Fate, Verdict, Wanted, judge
from .model import Drain, Health, Instance, Life, Observed, Send, Stop, Traffic
from .pace import Counts, pace
from .stages import Stage
from .watch import Watch

PATIENCE = 10.0
"""Seconds that an old instance must have failed its checks before it counts as lost: a balancer
that is started again knows nothing of anybody's health for a moment."""


@dataclass(frozen=True, slots=True)
class Begin:
    """An instance to start; whoever acts gives it its name."""

    slot: int | None = None
    host: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, in this order; when nothing is to be done, why one waits.

    :param reached: the stage is complete.
    :param waits: for what the next observation is made.
    :param platform: the platform, not the release, is what stands in the way.
    """

    begins: tuple[Begin, ...] = ()
    actions: tuple[Send | Drain | Stop, ...] = ()
    reached: bool = False
    waits: str = ""
    platform: bool = False
    counts: Counts | None = None

    @property
    def acts(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.begins or self.actions)


def decide(observed: Observed, wanted: Wanted, stage: Stage, watch: Watch, now: float) -> Decision:
    """Return what to do on the way to *stage*. Linear in the number of instances; changes nothing.

    :param watch: has taken *observed* in.
    :param now: by the same clock as *watch*.
    """
    lost = [host for host in observed.hosts if not host.reachable]
    if lost:
        named = ", ".join(host.address or "the engine" for host in lost)
        return Decision(waits=f"{named} to answer", platform=True)
    verdicts = judge(observed, wanted, watch.failed, watch.started)
    counts = count(verdicts, wanted, stage, watch, now)
    keep, old = stage.weights(counts.current, counts.old_serving, wanted.size)
    actions: list[Send | Drain | Stop] = []
    candidates: list[Verdict] = []
    idle: list[Verdict] = []
    for verdict in verdicts:
        one = verdict.instance
        if verdict.fate is Fate.KEEP:
            gets = one.traffic is Traffic.READY and one.weight == keep
            if stage.traffic and is_healthy(one) and not gets:
                actions.append(Send(one.id, keep))
        elif one.traffic is Traffic.READY:
            if one.serving:
                # One that was given up may have recovered: then it counts as any other.
                candidates.append(verdict)
                if one.weight != old and not stage.switch:
                    actions.append(Send(one.id, old))
            elif one.life is Life.STOPPED or one.id in watch.failed:
                actions.append(Drain(one.id))
            elif has_failed_long(one, watch, now) and (
                counts.ready or one.id not in watch.healthy_once
            ):
                # One that worked until now may do so again, unless the new ones show that it can.
                idle.append(verdict)
        elif stage.keep_old and one.alive and one.id not in watch.failed:
            continue
        elif one.life is Life.STARTING or _drained(one, wanted, watch, now):
            actions.append(Stop(one.id, verdict.reason))
    return _with_pace(observed, wanted, stage, verdicts, counts, actions, _order(candidates), idle)


def _with_pace(
    observed: Observed,
    wanted: Wanted,
    stage: Stage,
    verdicts: Sequence[Verdict],
    counts: Counts,
    actions: list[Send | Drain | Stop],
    candidates: Sequence[Verdict],
    idle: Sequence[Verdict],
) -> Decision:
    """Add what the counts allow: starts, and drains of those that serve."""
    limits = wanted.bounds
    target = min(stage.target, wanted.size)
    allowed = pace(counts, limits, target)
    room = max(0, limits.batch - counts.leaving)
    actions += [Drain(verdict.instance.id) for verdict in idle[:room]]
    drains = allowed.drains
    if stage.switch:
        # All at once, but only when those that take over serve.
        everyone = counts.ready >= wanted.size
        drains = max(0, min(len(candidates), counts.serving - limits.floor)) if everyone else 0
    elif stage.keep_old:
        drains = 0
    going = {verdict.instance.id for verdict in candidates[:drains]}
    actions = [one for one in actions if not (isinstance(one, Send) and one.id in going)]
    actions += [Drain(verdict.instance.id) for verdict in candidates[:drains]]
    begins = _begins(observed, wanted, allowed.starts)
    if begins or actions:
        return Decision(begins, tuple(actions), counts=counts)
    return _waiting(wanted, stage, verdicts, counts, target)


def _waiting(
    wanted: Wanted, stage: Stage, verdicts: Sequence[Verdict], counts: Counts, target: int
) -> Decision:
    if counts.ready < target:
        missing = target - counts.ready
        return Decision(waits=f"{missing} of {target} instances to be healthy", counts=counts)
    if counts.leaving and not stage.keep_old:
        return Decision(waits=f"{counts.leaving} instances to drain", counts=counts)
    stay = wanted.size - target if not stage.keep_old else wanted.size * 2
    if stage.switch and counts.old_serving:
        return Decision(waits="the old instances to give the traffic up", counts=counts)
    if counts.old_serving > stay:
        return Decision(waits=f"{counts.old_serving - stay} old instances to go", counts=counts)
    unsettled = any(
        verdict.fate is not Fate.KEEP
        and verdict.instance.life is Life.RUNNING
        and not verdict.instance.serving
        for verdict in verdicts
    )
    if unsettled and not stage.keep_old and target >= wanted.size:
        return Decision(waits="old instances that do not answer", counts=counts)
    return Decision(reached=True, counts=counts)


def count(
    verdicts: Sequence[Verdict], wanted: Wanted, stage: Stage, watch: Watch, now: float
) -> Counts:
    """Return how many instances there are of each sort.

    Where *stage* sends nothing to current instances, being healthy is as far as they come.
    """
    alive = serving = current = ready = young = old_serving = leaving = 0
    for verdict in verdicts:
        one = verdict.instance
        if not one.alive:
            continue
        alive += 1
        serves = one.serving
        serving += serves
        if verdict.fate is Fate.KEEP:
            current += 1
            if serves or (not stage.traffic and is_healthy(one)):
                since = watch.passing_since.get(one.id, now)
                old_enough = now - since >= wanted.policy.min_ready
                ready += old_enough
                young += not old_enough
        elif serves:
            old_serving += 1
        elif one.traffic is not Traffic.READY:
            leaving += 1
    return Counts(alive, serving, current, ready, young, old_serving, leaving)


def has_failed_long(one: Instance, watch: Watch, now: float) -> bool:
    """Whether *one*, which is to go anyway, has failed its checks for long enough."""
    since = watch.failing_since.get(one.id)
    return since is not None and now - since >= PATIENCE


def _drained(one: Instance, wanted: Wanted, watch: Watch, now: float) -> bool:
    """Whether nothing is lost when *one* is stopped."""
    if one.life is Life.STOPPED or one.traffic is Traffic.OUT:
        return True
    since = watch.draining_since.get(one.id, now)
    return one.connections == 0 or now - since >= wanted.drain_time


def is_healthy(one: Instance) -> bool:
    """Whether *one* runs and passes its checks."""
    return one.life is Life.RUNNING and one.health is Health.PASSING


def _order(candidates: Sequence[Verdict]) -> list[Verdict]:
    """Return who goes first: the tainted and outdated by age, then by host so that none is bare."""
    return sorted(
        candidates,
        key=lambda verdict: (
            not verdict.instance.tainted,
            verdict.instance.created,
            verdict.instance.id,
        ),
    )


def _begins(observed: Observed, wanted: Wanted, starts: int) -> tuple[Begin, ...]:
    """Spread *starts* over the hosts with the fewest instances, and over the free slots."""
    if starts <= 0:
        return ()
    load = Counter(dict.fromkeys(wanted.hosts, 0))
    free = {host.address: host.free for host in observed.hosts}
    taken: set[int] = set()
    for one in observed.instances:
        if one.alive and one.host in load:
            load[one.host] += 1
        if one.slot is not None:
            taken.add(one.slot)
    slots: Sequence[int | None] = [None] * starts
    if wanted.stop_first:
        slots = [slot for slot in range(wanted.size) if slot not in taken][:starts]
    begins = []
    for slot in slots:
        open_hosts = [host for host in load if (left := free.get(host)) is None or left > 0]
        if not open_hosts:
            break
        host = min(open_hosts, key=lambda name: (load[name], name))
        load[host] += 1
        left = free.get(host)
        if left is not None:
            free[host] = left - 1
        begins.append(Begin(slot, host))
    return tuple(begins)
