# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run through a rotation: observe, decide, act, and observe again."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ..core.errors import DriverError
from ..core.waiting import Clock
from .backend import Backend
from .decision import Decision, decide
from .gates import Answer
from .journal import Journal
from .judgement import Wanted
from .lease import Lease, LockLost
from .model import Action, Drain, Fault, Instance, Life, Observed, Send, Start, Stop
from .notes import Progress, Signals, read_signals, write_progress
from .policy import Gate
from .stages import Stage
from .watch import Watch

POLL = 0.2
"""Seconds between two observations while nothing can be done."""

MANY = 500
"""In a group of more instances a round costs more, so what can be done is let gather for a POLL."""

LISTEN = 2.0
"""Seconds between two looks for what people say from another terminal."""

_SHOWN = 6


class Cause(StrEnum):
    """Why a rotation did not get to its end."""

    RELEASE = "release"
    PLATFORM = "platform"
    DEADLINE = "deadline"
    GATE = "gate"
    HOOK = "hook"
    ABORT = "abort"
    REJECTED = "rejected"


class Failed(Exception):
    """A rotation cannot go on."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause
        self.message = message


def random_name() -> str:
    """Return six hexadecimal digits."""
    return secrets.token_hex(3)


@dataclass(slots=True)
class Edge:
    """What a rotation touches besides its backend.

    :param ask: asks a gate, within so many seconds.
    :param evidence: is shown an instance that failed, before it goes.
    :param name: what distinguishes the next instance's name.
    """

    clock: Clock = time
    ask: Callable[[Gate, float], Answer] = field(default=lambda gate, seconds: Answer(True, ""))
    evidence: Callable[[Instance, str], None] = field(default=lambda instance, reason: None)
    name: Callable[[], str] = random_name
    poll: float = POLL


@dataclass(slots=True)
class Tally:
    """What a rotation has seen and done."""

    lowest: int | None = None
    highest: int = 0
    started: int = 0
    stopped: int = 0


class Run:
    """The loop of one rotation, forward or back.

    :param progress: how far it is, kept in the backend too.
    """

    def __init__(
        self,
        backend: Backend,
        lease: Lease,
        journal: Journal,
        edge: Edge,
        watch: Watch,
        tally: Tally,
        wanted: Wanted,
        progress: Progress,
    ) -> None:
        self._backend = backend
        self._lease = lease
        self._journal = journal
        self._edge = edge
        self._watch = watch
        self._tally = tally
        self.wanted = wanted
        self.progress = progress
        now = edge.clock.monotonic()
        self._end = now + wanted.policy.deadline
        self._listened = -math.inf
        self._signals = Signals()
        self._unwell_since: float | None = None
        self._said = ""

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self._end - self._edge.clock.monotonic()

    def note(self, progress: Progress) -> None:
        """Keep *progress* here and in the backend."""
        self.insist(lambda: write_progress(self._backend, progress))
        self.progress = progress

    def reach(self, stage: Stage) -> None:
        """Work until *stage* is complete; Failed says why it cannot be."""
        while not self.tick(stage).reached:
            pass

    def stay(self, stage: Stage, seconds: float, why: str) -> None:
        """Keep *stage* as it is for so many *seconds*."""
        end = self._edge.clock.monotonic() + seconds
        if seconds > 0:
            self._journal.write("wait", f"{why}, {seconds:g} s")
        while (left := end - self._edge.clock.monotonic()) > 0:
            if self.tick(stage).reached:
                self._sleep(min(self._edge.poll, left))

    def tick(self, stage: Stage) -> Decision:
        """Observe, decide and act once; sleep when there is nothing to do."""
        self._check()
        clock = self._edge.clock
        try:
            observed = self._backend.observe()
        except DriverError as error:
            self._unwell(f"the group cannot be observed: {error}")
            return Decision(waits="the platform", platform=True)
        now = clock.monotonic()
        self._count(observed)
        for name in self._watch.update(observed, self.wanted, now):
            self._give_up(observed, name)
        self._judge_failures(observed)
        decision = decide(observed, self.wanted, stage, self._watch, now)
        if decision.platform:
            self._unwell(f"one waits for {decision.waits}")
            return decision
        if decision.acts:
            self._act(decision, observed)
            if len(observed.instances) > MANY:
                self._sleep(self._edge.poll)
        elif not decision.reached:
            self._unwell_since = None
            if decision.waits != self._said:
                self._said = decision.waits
                self._journal.write("wait", f"{stage.name}: for {decision.waits}")
            self._sleep(self._edge.poll)
        return decision

    def approval(self, name: str, stage: Stage, limit: float = math.inf) -> None:
        """Wait until somebody approves *name*; Failed when nobody does within *limit* seconds."""
        self.note_waiting(name)
        end = self._edge.clock.monotonic() + limit
        while name not in self._signals.approved:
            if self._edge.clock.monotonic() >= end:
                raise Failed(Cause.GATE, f"Nobody approved {name} within {limit:g} s.")
            if self.tick(stage).reached:
                self._sleep(self._edge.poll)
        self._journal.write("approved", f"{name} by {self._signals.approved[name]}")
        self.note_waiting("")

    def note_waiting(self, name: str) -> None:
        """Say for which approval the rotation waits."""
        if self.progress.waits_for != name:
            self.note(replace(self.progress, waits_for=name))
            if name:
                self._journal.write("asks", f"for the approval of {name}")

    def pass_gate(self, gate: Gate, stage: Stage) -> None:
        """Ask *gate* until it lets pass; Failed when it does not within its time."""
        if gate.kind == "approval":
            self.approval(gate.name, stage, gate.timeout)
            return
        clock = self._edge.clock
        end = clock.monotonic() + gate.timeout
        while True:
            limit = max(0.001, min(end - clock.monotonic(), self.left))
            answer = self._edge.ask(gate, limit)
            if answer.passes:
                self._journal.write("gate", f"{gate.name} lets pass: {answer.detail}")
                return
            self._journal.write("gate", f"{gate.name} does not let pass: {answer.detail}")
            if clock.monotonic() + gate.interval > end:
                raise Failed(Cause.GATE, f"The gate {gate.name} does not let pass: {answer.detail}")
            self.stay(stage, gate.interval, f"to ask {gate.name} again")

    def _act(self, decision: Decision, observed: Observed) -> None:
        starts = [self._start(begin.slot, begin.host) for begin in decision.begins]
        actions: list[Action] = [*decision.actions, *starts]
        self._said = ""
        self._journal.write("decide", describe(actions, observed))
        for action in actions:
            if isinstance(action, Drain):
                self._watch.drained.add(action.id)
            elif isinstance(action, Stop):
                self._watch.stopped.add(action.id)
            elif isinstance(action, Start):
                self._watch.started.add(action.id)
            else:
                self._watch.drained.discard(action.id)
        try:
            outcomes = self._backend.apply(actions, self._lease.lock)
        except DriverError as error:
            self._unwell(str(error))
            return
        trouble = ""
        for outcome in outcomes:
            action = outcome.action
            if outcome.fault is None:
                self._tally.started += isinstance(action, Start)
                self._tally.stopped += isinstance(action, Stop)
                continue
            if outcome.fault is Fault.LOCK:
                self._lease.lose()
                raise LockLost
            if isinstance(action, Start) and outcome.fault is Fault.RELEASE:
                self._watch.failed[action.id] = f"it could not be started: {outcome.message}"
                self._journal.write("failed", f"{action.id}: {self._watch.failed[action.id]}")
            else:
                trouble = outcome.message or "an action failed"
        if trouble:
            self._unwell(trouble)
        else:
            self._unwell_since = None
        self._judge_failures(observed)

    def _start(self, slot: int | None, host: str) -> Start:
        return Start(f"{self.wanted.group}-{self._edge.name()}", self.wanted.release, slot, host)

    def _check(self) -> None:
        """Raise when it must end now: a lost lock, the deadline, or somebody who aborts."""
        self._lease.check()
        if self.left <= 0:
            raise Failed(
                Cause.DEADLINE,
                f"The deadline of {self.wanted.policy.deadline:g} s is over; one waited for "
                f"{self._said or 'what was done last'}.",
            )
        now = self._edge.clock.monotonic()
        if now - self._listened >= LISTEN:
            self._listened = now
            self.insist(self._listen)
        if self._signals.abort and not self.progress.back:
            raise Failed(Cause.ABORT, f"It was aborted: {self._signals.abort}.")

    def _listen(self) -> None:
        self._signals = read_signals(self._backend, self.progress.rotation)

    def insist(self, call: Callable[[], None]) -> None:
        """Do *call* again until it is done; Failed when the platform stays away for too long."""
        while True:
            try:
                call()
            except DriverError as error:
                self._unwell(str(error))
                self._lease.check()
            else:
                return

    def _unwell(self, message: str) -> None:
        """Note that the platform does not do its part, wait a little, and give up in the end."""
        now = self._edge.clock.monotonic()
        if self._unwell_since is None:
            self._unwell_since = now
            self._journal.write("platform", message)
        limit = self.wanted.policy.start_timeout
        if now - self._unwell_since >= limit or self.left <= 0:
            raise Failed(
                Cause.PLATFORM,
                f"The platform fails, not the release: for "
                f"{min(limit, now - self._unwell_since):.3g} s {message}",
            )
        self._sleep(self._edge.poll * 2)

    def _give_up(self, observed: Observed, name: str) -> None:
        reason = self._watch.failed[name]
        self._journal.write("failed", f"{name}: {reason}")
        for one in observed.instances:
            if one.id == name:
                self._edge.evidence(one, reason)

    def _judge_failures(self, observed: Observed) -> None:
        failed = self._watch.failed
        if len(failed) < self.wanted.policy.failure_threshold:
            return
        name, reason = next(reversed(failed.items()))
        blame = self._platform_evidence(observed)
        if blame:
            raise Failed(
                Cause.PLATFORM,
                f"The platform fails, not the release: {blame}. {name} failed too: {reason}.",
            )
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise Failed(Cause.RELEASE, f"The release fails: {name}: {reason}{more}.")

    def _platform_evidence(self, observed: Observed) -> str:
        """Return why failures are not the release's fault, empty when they may well be."""
        wanted = self.wanted
        others = [
            one
            for one in observed.instances
            if not wanted.runs(one) and one.id not in self._watch.drained
        ]
        shaken = [one for one in others if one.id in self._watch.shaken]
        if shaken and 2 * len(shaken) >= len(others):
            what = self._watch.shaken[shaken[0].id]
            return f"{len(shaken)} of {len(others)} instances of the version before {what} as well"
        hosts = {one.host for one in observed.instances if one.id in self._watch.failed}
        well = {one.host for one in observed.instances if wanted.runs(one) and one.serving}
        if len(hosts) == 1 and well and not hosts & well:
            return f"it fails on {next(iter(hosts))} alone and works on {', '.join(sorted(well))}"
        return ""

    def _count(self, observed: Observed) -> None:
        serving = sum(one.serving for one in observed.instances)
        alive = sum(one.life is not Life.STOPPED for one in observed.instances)
        tally = self._tally
        tally.lowest = serving if tally.lowest is None else min(tally.lowest, serving)
        tally.highest = max(tally.highest, alive)

    def _sleep(self, seconds: float) -> None:
        self._edge.clock.sleep(max(0.001, min(seconds, self.left)))


def describe(actions: Sequence[Action], observed: Observed) -> str:
    """Return *actions* as one line: what is done with whom, and out of how many."""
    parts = []
    for kind, word in ((Start, "start"), (Send, "send to"), (Drain, "drain"), (Stop, "stop")):
        names = [_shown(one) for one in actions if isinstance(one, kind)]
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            parts.append(f"{word} {', '.join(names[:_SHOWN])}{more}")
    serving = sum(one.serving for one in observed.instances)
    alive = sum(one.alive for one in observed.instances)
    return f"{'; '.join(parts)} ({serving} of {alive} serve)"


def _shown(action: Action) -> str:
    if isinstance(action, Send) and action.weight != 100:
        return f"{action.id} at {action.weight}%"
    if isinstance(action, Start) and action.slot is not None:
        return f"{action.id} in slot {action.slot}"
    if isinstance(action, Stop) and action.reason:
        return f"{action.id} [{action.reason}]"
    return action.id
