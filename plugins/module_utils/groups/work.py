# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rotation that has begun: the stages of its strategy, and the way back when it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from ..core.errors import DriverError
from .backend import Backend
from .definition_model import GroupDefinition, Hook
from .journal import Journal
from .judgement import Wanted
from .lease import Lease, LockLost
from .model import Release
from .notes import Generation, Progress, read_state, write_progress, write_state
from .planner import RotationPlan
from .policy import OnFailure, Phase, Strategy
from .run import Cause, Edge, Failed, Run, Tally
from .stages import stages
from .watch import Watch

_LAST_WORDS = 400


class Ending(StrEnum):
    """How a rotation ended; only the first two are what was asked for."""

    UNCHANGED = "unchanged"
    ROTATED = "rotated"
    ROLLED_BACK = "rolled_back"
    PAUSED = "paused"
    STOPPED = "stopped"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Result:
    """What a rotation came to.

    :param cause: why it failed; None when it did not.
    :param message: one sentence for a person.
    :param lowest: the fewest instances that were seen serving.
    :param highest: the most instances that were seen.
    """

    ending: Ending
    changed: bool
    message: str
    plan: RotationPlan
    cause: Cause | None = None
    started: int = 0
    stopped: int = 0
    lowest: int = 0
    highest: int = 0
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether the group is now what was asked for."""
        return self.ending in {Ending.UNCHANGED, Ending.ROTATED}


Tell = Callable[[str, Mapping[str, Any]], Sequence[str]]


@dataclass(slots=True)
class Task:
    """One group and what it is to become.

    :param holder: who does it, for the lock and the journal: a name, a host, a process.
    :param is_gone: whether a holder of the lock is known to be dead, so that nobody needs to wait.
    :param judge: returns a sentence for each rule that the release fails; asked in preflight.
    :param tell: tells people of an event, and returns warnings.
    :param threaded: renew the lock beside the work; a simulation renews it in between.
    :param earlier: gives the definition that a generation was run with, and a backend for it, for
        the way back: what an instance is started with is the definition's.
    :param plain: replace one by one without canary steps, gates and hooks, surge first: the way
        back.
    """

    backend: Backend
    definition: GroupDefinition
    release: Release
    holder: str
    journal: Journal = field(default_factory=Journal)
    edge: Edge = field(default_factory=Edge)
    judge: Callable[[Release], Sequence[str]] = field(default=lambda release: ())
    tell: Tell = field(default=lambda event, message: ())
    now: Callable[[], float] = time.time
    threaded: bool = True
    plain: bool = False
    saved: Mapping[str, Any] | None = None
    break_lock: bool = False
    earlier: Callable[[Generation], tuple[GroupDefinition, Backend]] | None = None
    is_gone: Callable[[str], bool] = field(default=lambda holder: False)

    def wanted(self) -> Wanted:
        """What the group is to become."""
        found = Wanted.of(self.definition, self.release, surge_first=self.plain)
        found = replace(found, values=self.backend.values())
        return straight(found) if self.plain else found

    def generation(self) -> Generation:
        """What is remembered of this release when it runs."""
        return Generation(
            release=self.release,
            settings=self.definition.settings,
            document=self.definition.document,
            at=round(self.now(), 3),
            by=self.holder,
        )


def straight(wanted: Wanted) -> Wanted:
    """Return *wanted* to be reached one batch after the other, asking nobody.

    When that fails things stay as they are: on the way back there is nowhere to go back to.
    """
    policy = replace(
        wanted.policy,
        strategy=Strategy.ROLLING,
        steps=(),
        gates=(),
        bake_time=0.0,
        on_failure=OnFailure.PAUSE,
    )
    return replace(wanted, policy=policy, surge_first=True)


class Work:
    """A rotation that has begun, to its end."""

    def __init__(self, task: Task, lease: Lease, plan: RotationPlan, progress: Progress) -> None:
        self._task = task
        self._backend = task.backend
        self._journal = task.journal
        self._lease = lease
        self._plan = plan
        self._watch = Watch()
        self._tally = Tally()
        self._warnings: list[str] = []
        self._run = self._new_run(task.wanted(), progress)
        self._state = read_state(self._backend)
        self._earlier: Backend | None = None

    def whole(self) -> Result:
        """Go forward, and back if that fails; every way out of here has its result."""
        try:
            return self._whole()
        finally:
            if self._earlier is not None:
                self._earlier.close()

    def _whole(self) -> Result:
        self._tell("started", "")
        try:
            if self._run.progress.back:
                cause = Cause.RELEASE
                return self._back(Failed(cause, self._run.progress.back))
            self._forward()
        except LockLost:
            return self._lost()
        except Failed as failed:
            try:
                return self._failed(failed)
            except LockLost:
                return self._lost()
            except Failed as again:
                return self._stuck(failed, again)
        return self._succeeded()

    def _new_run(self, wanted: Wanted, progress: Progress) -> Run:
        return Run(
            self._backend,
            self._lease,
            self._journal,
            self._task.edge,
            self._watch,
            self._tally,
            wanted,
            progress,
        )

    def _forward(self) -> None:
        run, wanted = self._run, self._run.wanted
        self._backend_prepare()
        way = stages(wanted)
        asks = wanted.policy.gates
        if run.progress.stage == 0:
            first = replace(way[0], target=0, keep_old=True, traffic=True)
            for gate in asks:
                if gate.at == "start":
                    run.pass_gate(gate, first)
        self._hooks("before")
        for number, stage in enumerate(way):
            if number < run.progress.stage:
                continue
            run.reach(stage)
            if stage.pause is None:
                run.approval(f"{stage.weight}%", stage)
            else:
                run.stay(stage, stage.pause, f"{stage.name}")
            if stage.gates:
                for gate in asks:
                    if gate.at == "step":
                        run.pass_gate(gate, stage)
            run.note(replace(run.progress, stage=number + 1))
        last = way[-1]
        if not any(stage.switch for stage in way):
            run.stay(last, wanted.policy.bake_time, "watching the new instances")
        for gate in asks:
            if gate.at == "end":
                run.pass_gate(gate, last)
        self._hooks("after")
        # What is said at the end is what was seen at the end.
        run.reach(last)
        after = self._state.advanced(self._task.generation())
        run.insist(lambda: write_state(self._backend, after))
        run.insist(lambda: write_progress(self._backend, None))

    def _backend_prepare(self) -> None:
        try:
            self._backend.prepare()
        except DriverError as error:
            raise Failed(Cause.PLATFORM, f"The platform is not ready: {error}") from error

    def _hooks(self, when: str) -> None:
        current = self._state.current
        renews = current is None or current.release.digest != self._task.release.digest
        if self._task.plain or not renews:
            return
        for hook in self._task.definition.hooks:
            if hook.when == when and hook.name not in self._run.progress.hooks:
                self._hook(hook)

    def _hook(self, hook: Hook) -> None:
        run = self._run
        if hook.phase is Phase.CONTRACT:
            run.note(replace(run.progress, contract=hook.name))
        self._journal.write("hook", f"{hook.name} ({hook.phase}) begins")
        try:
            limited = replace(hook, timeout=max(0.1, min(hook.timeout, run.left)))
            result = self._backend.run_hook(limited, self._task.release)
        except DriverError as error:
            raise Failed(
                Cause.PLATFORM, f"The hook {hook.name} could not be run: {error}"
            ) from error
        self._lease.check()
        self._journal.write("hook", f"{hook.name} ended with status {result.status}")
        if result.status != 0:
            said = result.output.strip()[-_LAST_WORDS:] or "it said nothing"
            raise Failed(
                Cause.HOOK, f"The hook {hook.name} ended with status {result.status}: {said}"
            )
        run.note(replace(run.progress, hooks=(*run.progress.hooks, hook.name)))

    def _succeeded(self) -> Result:
        message = (
            f"{self._task.definition.name} runs {self._task.release.image} "
            f"{self._task.release.version} with {self._run.wanted.size} instances."
        )
        self._journal.write("done", message)
        self._tell("succeeded", message)
        return self._result(Ending.ROTATED, message, None)

    def _failed(self, failed: Failed) -> Result:
        self._journal.write("fails", f"({failed.cause}) {failed.message}")
        policy, progress = self._run.wanted.policy, self._run.progress
        if failed.cause is Cause.PLATFORM:
            return self._left(failed, "Nothing is rolled back, as that would not help.")
        if policy.on_failure is OnFailure.STOP:
            return self._left(failed, "It stops there, as the policy says.", forget=True)
        if policy.on_failure is OnFailure.PAUSE and failed.cause is not Cause.ABORT:
            return self._left(failed, "It pauses there, as the policy says.")
        if progress.contract:
            return self._left(
                failed,
                f"Nothing is rolled back by itself, because the hook {progress.contract} (contract)"
                " was begun and the version before may not work any more.",
            )
        current = self._state.current
        here = (self._task.release.digest, self._task.definition.settings)
        if current is None or (current.release.digest, current.settings) == here:
            return self._left(failed, "There is no other version to go back to.", forget=True)
        return self._back(failed)

    def _back(self, failed: Failed) -> Result:
        """Rotate to what ran before, surge first, with the same health rules."""
        current = self._state.current
        if current is None:
            return self._left(failed, "There is no version to go back to.", forget=True)
        progress = replace(self._run.progress, back=failed.message, waits_for="")
        self._watch.forget_failures()
        self._run.note(progress)
        self._journal.write("back", f"to {current.release.image} {current.release.version}")
        definition = self._as_then(current)
        # Those that still serve were given what was referred to then, whatever it is now.
        goal = straight(Wanted.of(definition, current.release))
        self._run = self._new_run(goal, progress)
        self._run.reach(stages(goal)[-1])
        self._run.insist(lambda: write_progress(self._backend, None))
        message = (
            f"{failed.message} {definition.name} was rolled back to {current.release.image} "
            f"{current.release.version}, which serves with {goal.size} instances."
        )
        self._journal.write("done", message)
        self._tell("rolled_back", message)
        return self._result(Ending.ROLLED_BACK, message, failed.cause)

    def _as_then(self, current: Generation) -> GroupDefinition:
        """Have the backend start what *current* was started with; the policy is today's."""
        now = self._task.definition
        size = int(current.document.get("size", now.size))
        if current.settings == now.settings or self._task.earlier is None:
            return replace(now, size=size)
        try:
            then, self._earlier = self._task.earlier(current)
            self._backend = self._earlier
        except DriverError as error:
            raise Failed(
                Cause.PLATFORM, f"What {now.name} was started with then cannot be read: {error}"
            ) from error
        self._backend_prepare()
        return replace(then, size=size, policy=now.policy, drain_time=now.drain_time)

    def _left(self, failed: Failed, why: str, *, forget: bool = False) -> Result:
        """End with everything as it is."""
        message = f"{failed.message} {why}"
        ending = Ending.STOPPED if forget else Ending.PAUSED
        progress = None if forget else replace(self._run.progress, paused=failed.message)
        try:
            write_progress(self._backend, progress)
        except DriverError as error:
            self._warnings.append(f"The backend could not be told so: {error}")
        self._journal.write(ending.value, message)
        self._tell("failed" if forget else "paused", message)
        return self._result(ending, message, failed.cause)

    def _stuck(self, failed: Failed, again: Failed) -> Result:
        """The way back failed too."""
        message = f"{failed.message} Going back failed as well: {again.message}"
        self._journal.write("stuck", message)
        self._tell("failed", message)
        return self._result(Ending.PAUSED, message, again.cause)

    def _lost(self) -> Result:
        message = (
            f"The lock of {self._task.definition.name} is somebody else's by now; nothing more"
            " was done."
        )
        self._journal.write("lost", message)
        return self._result(Ending.LOST, message, Cause.PLATFORM)

    def _tell(self, event: str, text: str) -> None:
        release = self._task.release
        self._warnings += self._task.tell(
            event,
            {
                "group": self._task.definition.name,
                "image": release.image,
                "version": release.version,
                "rotation": self._run.progress.rotation,
                "by": self._task.holder,
                "message": text,
            },
        )

    def _result(self, ending: Ending, message: str, cause: Cause | None) -> Result:
        tally = self._tally
        return Result(
            ending=ending,
            changed=bool(tally.started or tally.stopped or self._run.progress.hooks),
            message=message,
            plan=self._plan,
            cause=cause,
            started=tally.started,
            stopped=tally.stopped,
            lowest=tally.lowest or 0,
            highest=tally.highest,
            warnings=tuple(self._warnings),
        )
