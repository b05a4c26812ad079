# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotate a group: the lock, the plan, preflight, and then the work."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..core.errors import DriverError
from .judgement import Fate
from .lease import Lease, take
from .model import Fault, Lock
from .notes import (
    Progress,
    read_progress,
    read_state,
    write_progress,
    write_state,
)
from .planner import RotationPlan, check_basis, plan_rotation
from .refusal import refuse
from .work import Ending, Result, Task, Work


@dataclass(slots=True)
class Rotation(Task):
    """A task, and what is done before it is begun."""

    def plan(self) -> RotationPlan:
        """Return what would be done now; nothing is touched."""
        refuse(self.definition, self.backend.capabilities())
        state = read_state(self.backend)
        current = state.current
        renews = current is None or current.release.digest != self.release.digest
        hooks = self.definition.hooks if renews and not self.plain else ()
        plan = plan_rotation(self.backend.observe(), self.wanted(), hooks=hooks)
        if self.saved is not None:
            check_basis(self.saved, plan)
        return plan

    def preflight(self, plan: RotationPlan) -> None:
        """Raise DriverError with all that stands in the way, told apart by whose fault it is."""
        found = [(Fault.RELEASE, text) for text in self.judge(self.release)]
        found += [
            (one.fault, one.message) for one in self.backend.preflight(self.release, plan.begins)
        ]
        if not found:
            return
        release = [text for fault, text in found if fault is Fault.RELEASE]
        platform = [text for fault, text in found if fault is not Fault.RELEASE]
        lines = []
        if release:
            name = f"{self.release.image} {self.release.version}"
            lines.append(f"The release {name} may not run here: {' '.join(release)}")
        if platform:
            lines.append(f"The platform is not ready: {' '.join(platform)}")
        raise DriverError(
            "\n".join(lines), details={"release_faults": release, "platform_faults": platform}
        )

    def rotate(self) -> Result:
        """Do it, and say truthfully how it ended.

        Raises DriverError when nothing was begun: somebody else is at it, the plan is stale, the
        backend cannot honour the definition, or preflight found something.
        """
        began = self.edge.clock.monotonic()
        refuse(self.definition, self.backend.capabilities())
        lock = take(
            self.backend,
            self.definition.name,
            self.holder,
            is_gone=self.is_gone,
            break_it=self.break_lock,
        )
        lease = Lease(self.backend, lock, self.edge.clock, threaded=self.threaded)
        with lease.held():
            plan = self.plan()
            before = read_progress(self.backend)
            if plan.settled and not self._unfinished(before):
                self._record(plan)
                return Result(Ending.UNCHANGED, False, "Nothing changes.", plan)
            if before is None or not before.back or not self._continues(before):
                self.preflight(plan)
            work = Work(self, lease, plan, self._begin(lock, before, plan))
            result = work.whole()
        return replace(result, seconds=round(self.edge.clock.monotonic() - began, 3))

    def _unfinished(self, before: Progress | None) -> bool:
        """Whether an earlier run left something to do besides instances: hooks, or the way back."""
        return before is not None and self._continues(before)

    def _continues(self, before: Progress) -> bool:
        wanted = (self.release.digest, self.definition.settings)
        return (before.digest, before.settings) == wanted

    def _begin(self, lock: Lock, before: Progress | None, plan: RotationPlan) -> Progress:
        """Return the rotation that an earlier run began, or a new one."""
        if before is not None and self._continues(before):
            self.journal.rotation = before.rotation
            where = f"after stage {before.stage}" if not before.back else "on the way back"
            self.journal.write("resume", f"by {self.holder}, {where}")
            progress = replace(before, holder=self.holder, paused="", waits_for="")
        else:
            progress = Progress(
                rotation=self.edge.name(),
                digest=self.release.digest,
                settings=self.definition.settings,
                version=self.release.version,
                began=self.now(),
                holder=self.holder,
                # What a hook took away is gone, whichever release comes next.
                contract=before.contract if before is not None else "",
            )
            self.journal.rotation = progress.rotation
            self.journal.write(
                "begin",
                f"{self.definition.name} to {self.release.image} {self.release.version} by "
                f"{self.holder}: {plan.begins} to start, {len(plan.of(Fate.KEEP))} to keep",
            )
        write_progress(self.backend, progress)
        return progress

    def _record(self, plan: RotationPlan) -> None:
        """Remember what runs where nothing does yet, as after the loss of the backend's notes."""
        state = read_state(self.backend)
        if state.current is None and plan.verdicts:
            write_state(self.backend, state.advanced(self.generation()))
