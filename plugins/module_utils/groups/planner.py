# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a rotation: what becomes of each instance, in which steps, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.canonical import digest
from ..core.errors import DriverError
from .definition_model import Hook
from .judgement import Fate, Verdict, Wanted, judge, span
from .model import Health, Observed, Release
from .pace import Counts, pace
from .stages import Stage, stages

START_SECONDS = 5.0
"""How long an instance is thought to take to get healthy, where nothing is known of it."""

FULL = 100
"""The weight of an instance with its full part of the traffic."""

STOP_SECONDS = 1.0
"""How long draining and stopping are thought to take; only slow requests need the drain time."""


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a rotation.

    :param begins: how many instances are started.
    :param ends: those that are drained and stopped.
    :param serving: the fewest that serve meanwhile.
    :param alive: the most that there are meanwhile.
    """

    name: str
    begins: int = 0
    ends: tuple[str, ...] = ()
    serving: int = 0
    alive: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RotationPlan:
    """What a rotation is going to do.

    :param lowest: the fewest instances that serve on the way.
    :param highest: the most instances that there are on the way.
    :param basis: digest of all that the plan was made from; another one means that it is stale.
    """

    group: str
    release: Release
    size: int
    verdicts: tuple[Verdict, ...]
    steps: tuple[Step, ...]
    begins: int
    lowest: int
    highest: int
    seconds: float
    basis: str
    stop_first: bool = False

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        moves = any(one.fate is not Fate.KEEP for one in self.verdicts)
        return moves or self.begins > 0 or self.uneven > 0

    @property
    def uneven(self) -> int:
        """How many healthy instances that stay do not get their full part of the traffic."""
        return sum(
            one.fate is Fate.KEEP
            and one.instance.health is Health.PASSING
            and not (one.instance.serving and one.instance.weight == FULL)
            for one in self.verdicts
        )

    @property
    def settled(self) -> bool:
        """Whether the group is as it is wanted, and all of it serves."""
        return not self.changes and all(one.instance.serving for one in self.verdicts)

    def of(self, fate: Fate) -> list[Verdict]:
        """Return the verdicts of *fate*."""
        return [one for one in self.verdicts if one.fate is fate]

    def document(self) -> dict[str, Any]:
        """The plan as JSON, to be saved and shown."""
        return {
            "group": self.group,
            "image": self.release.image,
            "version": self.release.version,
            "digest": self.release.digest,
            "size": self.size,
            "changes": self.changes,
            "instances": [
                {
                    "id": one.instance.id,
                    "version": one.instance.version,
                    "fate": one.fate.value,
                    "reason": one.reason,
                }
                for one in self.verdicts
            ],
            "begins": self.begins,
            "steps": [
                {
                    "name": step.name,
                    "begins": step.begins,
                    "ends": list(step.ends),
                    "serving": step.serving,
                    "alive": step.alive,
                    "seconds": step.seconds,
                }
                for step in self.steps
            ],
            "lowest_capacity": self.lowest,
            "highest_count": self.highest,
            "seconds": self.seconds,
            "stop_first": self.stop_first,
            "basis": self.basis,
        }


def plan_rotation(
    observed: Observed, wanted: Wanted, *, hooks: tuple[Hook, ...] = ()
) -> RotationPlan:
    """Return the way from *observed* to *wanted*; pure, and linear in the number of instances."""
    verdicts = judge(observed, wanted)
    kept = sum(one.fate is Fate.KEEP for one in verdicts)
    begins = max(0, wanted.size - kept)
    leaves = any(one.fate is not Fate.KEEP for one in verdicts)
    steps: tuple[Step, ...] = ()
    if begins or leaves:
        steps = tuple(_steps(verdicts, wanted, hooks))
    serving = sum(one.instance.serving for one in verdicts)
    alive = sum(one.instance.alive for one in verdicts)
    return RotationPlan(
        group=wanted.group,
        release=wanted.release,
        size=wanted.size,
        verdicts=verdicts,
        steps=steps,
        begins=begins,
        lowest=min([serving, *(step.serving for step in steps)]),
        highest=max([alive, *(step.alive for step in steps)]),
        seconds=sum(step.seconds for step in steps),
        basis=basis(observed, wanted),
        stop_first=wanted.stop_first,
    )


def basis(observed: Observed, wanted: Wanted) -> str:
    """Return the digest of what a plan depends on: neither time nor health is part of it."""
    policy = wanted.policy
    return digest(
        [
            [wanted.group, wanted.release.digest, wanted.settings, wanted.size, str(policy)],
            [wanted.drain_time, wanted.stop_first, wanted.surge_first, *wanted.hosts],
            sorted(
                [
                    *(one.id, one.digest, one.settings, wanted.fits(one)),
                    *(one.host, one.tainted, one.slot, one.alive),
                ]
                for one in observed.instances
            ),
        ]
    )


def check_basis(saved: Mapping[str, Any], now: RotationPlan) -> None:
    """Raise DriverError when a *saved* plan is not the one that would be made *now*."""
    if saved.get("group") != now.group:
        raise DriverError(
            f"The saved plan is one of the group {saved.get('group')}, not of {now.group}."
        )
    if saved.get("basis") == now.basis:
        return
    before = {str(one["id"]): str(one["version"]) for one in saved.get("instances") or ()}
    after = {one.instance.id: one.instance.version for one in now.verdicts}
    moved = []
    if saved.get("digest") != now.release.digest:
        moved.append(f"the image is {now.release.version}, not {saved.get('version')}")
    if saved.get("size") != now.size:
        moved.append(f"the size is {now.size}, not {saved.get('size')}")
    gone, come = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    moved += [f"{name} is gone" for name in gone[:5]] + [f"{name} has come" for name in come[:5]]
    what = ", ".join(moved) or "the definition, a taint or an instance's state is another"
    raise DriverError(
        f"The group {now.group} has moved since the plan was made: {what}.",
        hint="Make a new plan and look at it.",
    )


def _steps(
    verdicts: tuple[Verdict, ...], wanted: Wanted, hooks: tuple[Hook, ...]
) -> Iterator[Step]:
    walk = _Walk(verdicts, wanted)
    policy = wanted.policy
    yield from (_gate(gate.name, gate.kind, walk) for gate in policy.gates if gate.at == "start")
    yield from (_hook(hook, walk) for hook in hooks if hook.when == "before")
    asked = [gate for gate in policy.gates if gate.at == "step"]
    # What serves nobody goes first and needs no room of its own.
    for stage in stages(wanted):
        yield from walk.through(stage)
        if stage.pause is None:
            yield walk.still(f"wait for the approval of {stage.name}", 0.0)
        elif stage.pause:
            yield walk.still(f"watch {stage.name} for {span(stage.pause)}", stage.pause)
        if stage.gates:
            yield from (_gate(gate.name, gate.kind, walk) for gate in asked)
    if policy.bake_time and not any(stage.switch for stage in stages(wanted)):
        yield walk.still(f"watch the new instances for {span(policy.bake_time)}", policy.bake_time)
    yield from (_gate(gate.name, gate.kind, walk) for gate in policy.gates if gate.at == "end")
    yield from (_hook(hook, walk) for hook in hooks if hook.when == "after")


class _Walk:
    """A rotation in which everything goes well, as counts."""

    def __init__(self, verdicts: tuple[Verdict, ...], wanted: Wanted) -> None:
        self._wanted = wanted
        going = [one.instance for one in verdicts if one.fate is not Fate.KEEP]
        keep = [one.instance for one in verdicts if one.fate is Fate.KEEP]
        self._idle = [one.id for one in going if not one.serving]
        self._serving = [
            one.id
            for one in sorted(
                (one for one in going if one.serving),
                key=lambda one: (not one.tainted, one.created, one.id),
            )
        ]
        self._next = 0
        self._idle_alive = sum(one.alive and not one.serving for one in going)
        self.current = len(keep)
        self.serving_keep = len(keep)
        self._parked = 0

    @property
    def serving(self) -> int:
        return self.serving_keep + len(self._serving) - self._next

    @property
    def alive(self) -> int:
        return self.current + self._idle_alive + len(self._serving) - self._next + self._parked

    def still(self, name: str, seconds: float) -> Step:
        """A step in which nothing starts or ends."""
        return Step(name, serving=self.serving, alive=self.alive, seconds=seconds)

    def through(self, stage: Stage) -> Iterator[Step]:
        """Yield the steps to *stage*."""
        limits, target = self._wanted.bounds, min(stage.target, self._wanted.size)
        ready = self._wanted.policy.min_ready
        if self._idle:
            idle, self._idle = tuple(self._idle), []
            highest, self._idle_alive = self.alive, 0
            yield Step("take away what serves nobody", 0, idle, self.serving, highest, STOP_SECONDS)
        while True:
            counts = Counts(
                alive=self.alive,
                serving=self.serving,
                current=self.current,
                ready=self.current,
                young=0,
                old_serving=len(self._serving) - self._next,
                leaving=0,
            )
            allowed = pace(counts, limits, target)
            drains = 0 if stage.keep_old else allowed.drains
            if stage.switch and counts.ready >= self._wanted.size:
                drains = counts.old_serving
            if not allowed.starts and not drains:
                break
            yield self._take(stage, allowed.starts, drains, ready)
        if not stage.keep_old and self._parked:
            highest, self._parked = self.alive, 0
            yield Step("stop the old instances", 0, (), self.serving, highest, STOP_SECONDS)

    def _take(self, stage: Stage, starts: int, drains: int, ready: float) -> Step:
        ends = tuple(self._serving[self._next : self._next + drains])
        self._next += drains
        if stage.switch:
            self.serving_keep = self.current
            self._parked += drains
            return Step(
                "let all traffic go to the new instances", 0, ends, self.serving, self.alive
            )
        lowest, highest = self.serving, self.alive + drains + starts
        self.current += starts
        if stage.traffic:
            self.serving_keep = self.current
        seconds = (START_SECONDS + ready if starts else 0.0) + (STOP_SECONDS if drains else 0.0)
        return Step(_batch(starts, drains), starts, ends, lowest, highest, seconds)


def _batch(starts: int, drains: int) -> str:
    parts = [f"start {starts}" if starts else "", f"drain and stop {drains}" if drains else ""]
    return ", ".join(part for part in parts if part)


def _gate(name: str, kind: str, walk: _Walk) -> Step:
    return walk.still(f"ask the gate {name} ({kind})", 0.0)


def _hook(hook: Hook, walk: _Walk) -> Step:
    return walk.still(f"run the hook {hook.name} ({hook.phase})", 0.0)
