# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group of four on the platform in memory, and an operator who rotates it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.simulated import (
    Behaviour,
    Simulated,
    Time,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    GroupDefinition,
    Hook,
    ImageChoice,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.engine import Rotation
from ansible_collections.kiln.immutable.plugins.module_utils.groups.gates import Answer
from ansible_collections.kiln.immutable.plugins.module_utils.groups.journal import Journal
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import (
    Action,
    Finding,
    Lock,
    Outcome,
    Release,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.notes import (
    Generation,
    GroupState,
    write_state,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.policy import (
    Gate,
    Policy,
    bounds,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.run import Edge

OLD = Release("web", "1.0.1", "sha256:1", "kiln/web:1.0.1")
NEW = Release("web", "1.0.2", "sha256:2", "kiln/web:1.0.2")
BROKEN = Behaviour(broken=1.0)
GROUP = GroupDefinition("web", ImageChoice("web", version="1.0.2"), 4, policy=Policy(deadline=600))


class Platform(Simulated):
    """The platform in memory, which notes hooks and what preflight is to find."""

    hooks: list[str]
    findings: list[Finding]

    def preflight(self, release: Release, starts: int) -> list[Finding]:
        return self.findings

    def run_hook(self, hook: Hook, release: Release):  # type: ignore[no-untyped-def]
        self.hooks.append(f"{hook.name} in {release.version}")
        return Simulated.run_hook(self, hook, release)


def platform(group: GroupDefinition = GROUP, new: Behaviour | None = None) -> Platform:
    made = Platform(
        Time(),
        group.settings,
        bounds(group.policy, group.size, stop_first=group.stop_first),
        behaviours={NEW.digest: new or Behaviour(), OLD.digest: Behaviour()},
    )
    made.hooks, made.findings = [], []
    for number in range(GROUP.size):
        made.place(f"web-old{number}", OLD)
    write_state(made, GroupState(Generation(OLD, group.settings, {"size": GROUP.size})))
    return made


class Started:
    """The same platform for whoever starts instances with other settings, as another process."""

    def __init__(self, there: Simulated, group: GroupDefinition) -> None:
        self._there, self._settings = there, group.settings

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        return getattr(self._there, name)

    def apply(self, actions: Sequence[Action], lock: Lock) -> Sequence[Outcome]:
        before, self._there.settings = self._there.settings, self._settings
        try:
            return self._there.apply(actions, lock)
        finally:
            self._there.settings = before


def rotation(
    there: Platform,
    group: GroupDefinition = GROUP,
    *,
    holder: str = "ada",
    ask: Callable[[Gate, float], Answer] | None = None,
    clock: Time | None = None,
) -> Rotation:
    names = itertools.count(there.calls)
    edge = Edge(clock or there.time, name=lambda: f"{next(names):03}")
    if ask is not None:
        edge.ask = ask
    return Rotation(
        there,
        group,
        NEW,
        holder,
        journal=Journal(now=there.time.now),
        edge=edge,
        now=there.time.now,
        threaded=False,
    )


def versions(there: Platform) -> list[str]:
    """Return what serves."""
    return sorted(one.version for one in there.look().instances if one.serving)


def with_policy(**changes: object) -> GroupDefinition:
    return replace(GROUP, policy=replace(GROUP.policy, **changes))  # type: ignore[arg-type]
