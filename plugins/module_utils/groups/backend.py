# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The protocol that every backend of instance groups speaks.

A backend is made for one group: ``Backend(definition, release_of_images, ...)`` is its own
business. It decides nothing. The engine (:mod:`.engine`) observes, has actions applied, and
observes again, so every method may be called again after it failed or its answer was lost:
starting an instance that is there, draining one that drains and stopping one that is gone are
no errors.

No method blocks without a limit. What cannot be reached within a backend's own limit is a
DriverError, which the engine counts against the platform and tries again until its deadline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .definition_model import Hook
from .model import (
    Action,
    Capabilities,
    Finding,
    HookResult,
    Lock,
    Observed,
    Outcome,
    Release,
)


class LockHeld(Exception):
    """Somebody else holds the group's lock."""

    def __init__(self, lock: Lock) -> None:
        super().__init__(lock.holder)
        self.lock = lock


class Backend(Protocol):
    """One group on one platform."""

    def capabilities(self) -> Capabilities:
        """What it can honour. Asked before anything else; touches nothing."""

    def preflight(self, release: Release, starts: int) -> Sequence[Finding]:
        """What stands in the way of starting *starts* instances of *release*: the image is on no
        engine, a published port is somebody else's, an engine does not answer or has no room.

        Makes nothing in check mode's sense: no container, no volume, no change of the balancer.
        """

    def prepare(self) -> None:
        """Make what instances need besides themselves: network, volumes, balancer."""

    def values(self) -> str:
        """Keyed digests of the values that the definition refers to, as :attr:`Instance.values` of
        an instance that would be started now; "" without any. The same for as long as this object
        lives, as instances are given what was read first. DriverError when one cannot be had.
        """

    def observe(self) -> Observed:
        """Everything that carries the group's label, whoever started it."""

    def apply(self, actions: Sequence[Action], lock: Lock) -> Sequence[Outcome]:
        """Do *actions*, side by side where that is quicker, and tell for each what became of it.

        First compares *lock*'s token with the one that the backend keeps, and when it is another,
        or its lease there is over, does nothing and answers Fault.LOCK for each: whoever slept for
        so long acts on what was so then. Raises nothing for an action that failed.

        Start returns when the engine has started the process, not when it is healthy. Stop returns
        when the instance is gone, at most its stop timeout (then SIGKILL) later.
        """

    def take_lock(self, holder: str, lease: float, *, break_it: bool = False) -> Lock:
        """Take the group's lock for *lease* seconds, or raise LockHeld.

        The comparison and the taking are one operation at the backend. A lock whose lease is over
        is free. Tokens are never used twice.

        :param break_it: take it from whoever holds it.
        """

    def renew_lock(self, lock: Lock, lease: float) -> Lock:
        """Return *lock* with a lease from now; LockHeld when it is somebody else's by now."""

    def release_lock(self, lock: Lock) -> None:
        """Give *lock* back; nothing when it is somebody else's by now."""

    def read_lock(self) -> Lock | None:
        """Who holds the lock, None when it is free."""

    def read_note(self, name: str) -> Mapping[str, Any]:
        """Return the document *name* (small letters and -) kept for the group; {} if none."""

    def write_note(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep *value*, JSON of at most 256 KiB, as the document *name*, whole or not at all.

        Needs no lock: approvals and aborts come from people who do not hold it.
        """

    def taint(self, instance: str, reason: str) -> None:
        """Note that *instance* is to be replaced by the next rotation; "" takes it back."""

    def run_hook(self, hook: Hook, release: Release) -> HookResult:
        """Run *hook* in a container of *release*'s image with the group's environment, secrets,
        network and shared volumes; wait for its end, at most its timeout, and remove it.
        """

    def logs(self, instance: str, lines: int = 100) -> str:
        """The last *lines* that *instance* wrote, also of one that ended; "" if it is gone."""

    def close(self) -> None:
        """Let go of sockets and threads; instances, balancer and notes stay."""
