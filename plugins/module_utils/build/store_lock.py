# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may use a home's store, and who may take from it.

Whoever writes a blob and then something that refers to it, or reads a reference and counts on its
blob, holds the lock *shared* from before the first to after the second. Every step of a bake does
for as long as it lasts, and the keeper of its session from the plan to the end of the bake; so
both survive the other's death. The collection of garbage holds it *alone*: nothing is then
half-way between blob and reference, and what nothing refers to is needed by nobody. The kernel
drops the lock of a process that dies.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..core.errors import DriverError
from ..core.files import LockBusy, locked
from ..core.waiting import Clock, wait_for
from .home import Home


def store_lock(home: Home) -> Path:
    """The lock file of the store of *home*."""
    return home.locks / "store"


@contextlib.contextmanager
def store_in_use(home: Home, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the store shared for the block.

    :param waiting: called once if somebody has it alone: they will not take long.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(store_lock(home), shared=True, wait=False))
        except LockBusy:
            waiting()
            held.enter_context(locked(store_lock(home), shared=True))
        yield


@contextlib.contextmanager
def store_alone(home: Home, *, timeout: float, clock: Clock = time) -> Iterator[None]:
    """Hold the store alone for the block.

    :param timeout: seconds to wait for the bakes that go on; those that begin meanwhile are not
        kept from it. DriverError when they are over.
    """
    with contextlib.ExitStack() as held:

        def probe() -> bool | None:
            with contextlib.suppress(LockBusy):
                held.enter_context(locked(store_lock(home), wait=False))
                return True
            return None

        try:
            wait_for("the bakes that go on", probe, timeout=timeout, clock=clock)
        except DriverError as error:
            raise DriverError(
                f"Bakes are going on in {home.root}, and did not end within {timeout:g} s.",
                hint="Run it again when they are done, or let it wait for longer (kiln_wait).",
            ) from error
        yield
