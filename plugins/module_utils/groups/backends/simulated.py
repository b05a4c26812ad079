# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A platform in memory, in a time of its own: policies are tried and rotations measured on it.

It does what a balancer and an engine do, and what goes wrong with them: instances that start
slowly, flap, end after they were ready or never get healthy, answers that are lost, actions that
fail, and a process that is killed at any action. It also holds the rules that a rotation promises
against everything that is asked of it, at the moment it is asked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...core.errors import DriverError
from ..backend import LockHeld
from ..definition_model import Hook
from ..model import (
    Action,
    Capabilities,
    Drain,
    Fault,
    Finding,
    Health,
    HookResult,
    Host,
    Instance,
    Life,
    Lock,
    Observed,
    Outcome,
    Release,
    Send,
    Start,
    Traffic,
)
from ..policy import Bounds

EPOCH = 1_700_000_000.0


class Killed(BaseException):
    """The operator's process is killed; nothing of it runs any more."""


@dataclass(slots=True)
class Time:
    """A clock that passes only when somebody sleeps."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self.seconds

    def sleep(self, seconds: float, /) -> None:
        """Let *seconds* pass at once."""
        self.seconds += seconds

    def now(self) -> float:
        """Unix time."""
        return EPOCH + self.seconds


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How instances of a release behave. Seconds and probabilities.

    :param start: the shortest and the longest time to get healthy.
    :param broken: that an instance never gets healthy.
    :param crashes: that it ends some time after it was healthy, *lives* seconds at the most.
    :param flaps: that its checks fail for a moment once.
    :param request: how long requests take at the most.
    :param refuses: that the engine cannot start it.
    """

    start: tuple[float, float] = (1.0, 5.0)
    broken: float = 0.0
    crashes: float = 0.0
    flaps: float = 0.0
    request: float = 1.0
    refuses: float = 0.0
    lives: float = 20.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """How the platform fails. Probabilities, for each call or action.

    :param blind: that the group cannot be observed.
    :param fails: that an action is not done.
    :param forgets: that an action is done, and its answer lost.
    :param kills: that the operator's process ends at an action, before or after it.
    :param sleeps: that the operator's process stands still for longer than its lease.
    """

    blind: float = 0.0
    fails: float = 0.0
    forgets: float = 0.0
    kills: float = 0.0
    sleeps: float = 0.0


@dataclass(slots=True)
class _Machine:
    """One simulated instance."""

    id: str
    release: Release
    settings: str
    slot: int | None
    host: str
    created: float
    healthy_at: float
    ends_at: float
    flaps_at: float
    late: Health = Health.UNKNOWN
    given: str = ""
    busy_until: float = 0.0
    traffic: Traffic = Traffic.OUT
    weight: int = 100
    drained_at: float = 0.0
    tainted: str = ""
    shown: Instance | None = None
    shown_as: tuple[Any, ...] = ()


_NEVER = float("inf")
_FLAP = 3.0


@dataclass(slots=True)
class Simulated:
    """A group in memory.

    :param limits: the numbers that hold now; actions against them are noted in *broken_rules*.
    :param behaviours: by digest of the release.
    :param given: the marks of the values that instances are given.
    :param intrude: is called before actions are applied; another operator may come.
    """

    time: Time
    settings: str
    limits: Bounds
    drain_time: float = 30.0
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    trouble: Trouble = field(default_factory=Trouble)
    chance: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - no secret
    hosts: tuple[str, ...] = ("",)
    intrude: Callable[[], None] = field(default=lambda: None)
    broken_rules: list[str] = field(default_factory=list)
    calls: int = 0
    hook_status: int = 0
    given: str = ""
    _machines: dict[str, _Machine] = field(default_factory=dict)
    _alive: int = 0
    _serving: int = 0
    _slots: set[int | None] = field(default_factory=set)
    _lock: Lock | None = None
    _tokens: int = 0
    _notes: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    # What a test sets up.

    def place(
        self, name: str, release: Release, *, slot: int | None = None, age: float = 100.0
    ) -> None:
        """Put an instance there that has served for *age* seconds."""
        now = self.time.now()
        machine = self._machine(name, release, self.settings, slot, self.hosts[0])
        machine.created, machine.healthy_at = now - age, now - age
        machine.ends_at = machine.flaps_at = _NEVER
        machine.traffic = Traffic.READY
        self._machines[name] = machine

    def _machine(
        self, name: str, release: Release, settings: str, slot: int | None, host: str
    ) -> _Machine:
        how = self.behaviours.get(release.digest, Behaviour())
        now, draw = self.time.now(), self.chance.random
        healthy_at = now + how.start[0] + draw() * (how.start[1] - how.start[0])
        if how.broken and draw() < how.broken:
            healthy_at = _NEVER
        ends_at = (
            healthy_at + how.lives * draw() if how.crashes and draw() < how.crashes else _NEVER
        )
        flaps_at = healthy_at + 20 * draw() if how.flaps and draw() < how.flaps else _NEVER
        # Some balancers say nothing of what has just started, others that it fails its checks.
        late = Health.FAILING if draw() < 0.5 else Health.UNKNOWN
        return _Machine(
            name,
            release,
            settings,
            slot,
            host,
            now,
            healthy_at,
            ends_at,
            flaps_at,
            late,
            self.given,
        )

    # The protocol.

    def capabilities(self) -> Capabilities:
        """All of them."""
        return Capabilities("simulated", hosts=True)

    def preflight(self, release: Release, starts: int) -> Sequence[Finding]:
        """Nothing stands in the way."""
        return ()

    def prepare(self) -> None:
        """Nothing needs to be made."""

    def values(self) -> str:
        """What the test says."""
        return self.given

    def observe(self) -> Observed:
        """Everything as it is at this moment of the simulated time."""
        self.calls += 1
        if self._happens(self.trouble.blind):
            raise DriverError("The engine does not answer.")
        return self.look()

    def look(self) -> Observed:
        """The same for a test, which the platform always answers."""
        now = self.time.now()
        return Observed(
            tuple(self._instance(one, now) for one in self._machines.values()),
            tuple(Host(name) for name in self.hosts),
            now,
        )

    def apply(self, actions: Sequence[Action], lock: Lock) -> Sequence[Outcome]:
        """Do *actions*, as far as the lock and the platform let."""
        self.calls += 1
        if self._happens(self.trouble.sleeps):
            self.time.sleep(120.0)
        self.intrude()
        held = self.read_lock()
        if held is None or held.token != lock.token:
            return [Outcome(action, Fault.LOCK, "the lock is another's") for action in actions]
        # Counted once and kept up with: counting anew for each action would be quadratic.
        now = self.time.now()
        there = [self._instance(one, now) for one in self._machines.values()]
        self._alive = sum(one.alive for one in there)
        self._serving = sum(one.serving for one in there)
        self._slots = {one.slot for one in there if one.slot is not None}
        outcomes = []
        for action in actions:
            self._die_perhaps()
            if self._happens(self.trouble.fails):
                outcomes.append(Outcome(action, Fault.PLATFORM, "the engine failed"))
                continue
            outcome = self._do(action)
            self._die_perhaps()
            if self._happens(self.trouble.forgets):
                outcome = Outcome(action, Fault.PLATFORM, "no answer came")
            outcomes.append(outcome)
        self.time.sleep(0.3)
        return outcomes

    def take_lock(self, holder: str, lease: float, *, break_it: bool = False) -> Lock:
        """Take the lock, unless another's lease runs."""
        now = self.time.now()
        if self._lock is not None and self._lock.until > now and not break_it:
            raise LockHeld(self._lock)
        self._tokens += 1
        self._lock = Lock(holder, str(self._tokens), now, now + lease)
        return self._lock

    def renew_lock(self, lock: Lock, lease: float) -> Lock:
        """Lengthen the lease."""
        if self._lock is None or self._lock.token != lock.token:
            raise LockHeld(self._lock or lock)
        self._lock = Lock(lock.holder, lock.token, lock.since, self.time.now() + lease)
        return self._lock

    def release_lock(self, lock: Lock) -> None:
        """Give it back."""
        if self._lock is not None and self._lock.token == lock.token:
            self._lock = None

    def read_lock(self) -> Lock | None:
        """Who holds it."""
        held = self._lock
        return held if held is not None and held.until > self.time.now() else None

    def read_note(self, name: str) -> Mapping[str, Any]:
        """What was written."""
        return self._notes.get(name, {})

    def write_note(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep it."""
        self._die_perhaps()
        self._notes[name] = value

    def taint(self, instance: str, reason: str) -> None:
        """Note that it is to be replaced."""
        self._machines[instance].tainted = reason

    def run_hook(self, hook: Hook, release: Release) -> HookResult:
        """End as the test says."""
        self._die_perhaps()
        return HookResult(self.hook_status, "as the simulation says")

    def logs(self, instance: str, lines: int = 100) -> str:
        """Nothing was written."""
        return ""

    def close(self) -> None:
        """Nothing is open."""

    # How it goes on.

    def _do(self, action: Action) -> Outcome:
        now = self.time.now()
        machine = self._machines.get(action.id)
        if isinstance(action, Start):
            return self._start(action) if machine is None else Outcome(action)
        if machine is None:
            return Outcome(action)
        one = self._instance(machine, now)
        if isinstance(action, Send):
            if one.health is not Health.PASSING:
                self._broken(f"traffic for {one.id}, which is {one.health}")
            machine.traffic, machine.weight = Traffic.READY, action.weight
            self._serving += self._instance(machine, now).serving - one.serving
        elif isinstance(action, Drain):
            self._drain(machine, one, now)
        else:
            self._stop(machine, one, now)
        return Outcome(action)

    def _start(self, action: Start) -> Outcome:
        how = self.behaviours.get(action.release.digest, Behaviour())
        if self._happens(how.refuses):
            return Outcome(action, Fault.RELEASE, "its program is not there")
        self._alive += 1
        if self._alive > self.limits.most:
            self._broken(f"{self._alive} instances, but there may be {self.limits.most}")
        if action.slot is not None and action.slot in self._slots:
            self._broken(f"two instances with the volume of slot {action.slot}")
        self._slots.add(action.slot)
        settings = self.settings
        self._machines[action.id] = self._machine(
            action.id, action.release, settings, action.slot, action.host
        )
        return Outcome(action)

    def _drain(self, machine: _Machine, one: Instance, now: float) -> None:
        if one.serving:
            self._serving -= 1
            if self._serving < self.limits.floor:
                self._broken(f"{self._serving} serve, but at least {self.limits.floor} are to")
        if machine.traffic is Traffic.READY:
            how = self.behaviours.get(machine.release.digest, Behaviour())
            machine.busy_until = now + how.request * self.chance.random()
            machine.drained_at = now
            machine.traffic = Traffic.DRAIN

    def _stop(self, machine: _Machine, one: Instance, now: float) -> None:
        waited = now - machine.drained_at >= self.drain_time
        if one.life is not Life.STOPPED:
            if machine.traffic is Traffic.READY:
                self._broken(f"{one.id} was stopped while it got traffic")
            elif one.connections and not waited:
                self._broken(f"{one.id} was stopped with requests in flight")
        self._alive -= one.alive
        self._slots.discard(one.slot)
        del self._machines[one.id]

    def _instance(self, machine: _Machine, now: float) -> Instance:
        if now >= machine.ends_at:
            life, health = Life.STOPPED, Health.UNKNOWN
        elif now < machine.healthy_at:
            life, health = Life.RUNNING, machine.late
        elif machine.flaps_at <= now < machine.flaps_at + _FLAP:
            life, health = Life.RUNNING, Health.FAILING
        else:
            life, health = Life.RUNNING, Health.PASSING
        busy = machine.traffic is Traffic.DRAIN and now < machine.busy_until
        shape = (life, health, machine.traffic, machine.weight, busy, machine.tainted)
        if machine.shown is None or machine.shown_as != shape:
            machine.shown_as = shape
            machine.shown = Instance(
                id=machine.id,
                version=machine.release.version,
                digest=machine.release.digest,
                settings=machine.settings,
                values=machine.given,
                life=life,
                health=health,
                traffic=machine.traffic,
                weight=machine.weight,
                connections=int(busy),
                slot=machine.slot,
                host=machine.host,
                created=machine.created,
                tainted=machine.tainted,
                exit_status=1 if life is Life.STOPPED else None,
            )
        return machine.shown

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self.chance.random() < probability

    def _die_perhaps(self) -> None:
        if self._happens(self.trouble.kills):
            raise Killed

    def _broken(self, rule: str) -> None:
        self.broken_rules.append(f"at {self.time.seconds:.1f} s: {rule}")
