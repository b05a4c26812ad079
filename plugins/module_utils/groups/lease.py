# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holding a group's lock while working on it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from ..core.errors import DriverError
from ..core.waiting import Clock
from .backend import Backend, LockHeld
from .model import Lock

SECONDS = 60.0
"""How long a lock is somebody's after the last sign of life."""


class LockLost(Exception):
    """The lock is somebody else's by now: nothing may be done any more."""


class Lease:
    """A lock that is renewed while it is held.

    :param threaded: renew beside whatever is being done; otherwise in :meth:`check`.
    """

    def __init__(self, backend: Backend, lock: Lock, clock: Clock, *, threaded: bool) -> None:
        self._backend = backend
        self._clock = clock
        self._threaded = threaded
        self._lock = lock
        self._renewed = clock.monotonic()
        self._lost = False
        self._end = threading.Event()

    @property
    def lock(self) -> Lock:
        """The lock as it was renewed last."""
        return self._lock

    def check(self) -> None:
        """Raise LockLost when the lock is not ours any more."""
        if not self._threaded and self._clock.monotonic() - self._renewed >= SECONDS / 3:
            self.renew()
        if self._lost:
            raise LockLost

    def lose(self) -> None:
        """Note that the backend refused an action because of the lock."""
        self._lost = True

    def renew(self) -> None:
        """Renew once. A backend that does not answer is tried again until the lease is over."""
        begun = self._clock.monotonic()
        try:
            self._lock = self._backend.renew_lock(self._lock, SECONDS)
            self._renewed = begun
        except LockHeld:
            self._lost = True
        except DriverError:
            self._lost = self._lost or begun - self._renewed >= SECONDS

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Renew while the block runs, and give the lock back at its end."""
        thread = threading.Thread(target=self._beat, name="kiln-lease", daemon=True)
        if self._threaded:
            thread.start()
        try:
            yield
        finally:
            self._end.set()
            if self._threaded:
                thread.join(SECONDS)
            if not self._lost:
                with contextlib.suppress(DriverError):
                    self._backend.release_lock(self._lock)

    def _beat(self) -> None:
        while not self._end.wait(SECONDS / 3) and not self._lost:
            self.renew()


def take(
    backend: Backend,
    group: str,
    holder: str,
    *,
    is_gone: Callable[[str], bool],
    break_it: bool = False,
) -> Lock:
    """Take the lock of *group*, or raise DriverError that says who has it and since when.

    :param is_gone: whether a holder is known to be dead: then its lease need not run out.
    """
    try:
        return backend.take_lock(holder, SECONDS, break_it=break_it)
    except LockHeld as held:
        if is_gone(held.lock.holder):
            return backend.take_lock(holder, SECONDS, break_it=True)
        since = datetime.fromtimestamp(held.lock.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        until = datetime.fromtimestamp(held.lock.until, UTC).strftime("%H:%M:%S UTC")
        raise DriverError(
            f"The group {group} is being changed by {held.lock.holder}, since {since}.",
            hint=f"Wait, or end it with the option abort. Without a sign of life the lock is free"
            f" at {until}.",
            details={"holder": held.lock.holder, "since": held.lock.since},
        ) from held
