# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to wait: a predicate, a deadline and a clock that tests can replace."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from .errors import DriverError

T = TypeVar("T")


class Clock(Protocol):
    """Seconds that only go up, and a way to let them pass."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


def wait_for(
    what: str,
    probe: Callable[[], T | None],
    *,
    timeout: float,
    interval: float = 0.2,
    clock: Clock = time,
) -> T:
    """Call *probe* every *interval* seconds until it gives a value that is not None.

    :param what: what is waited for, as the object of "waited for".
    :param timeout: seconds; DriverError is raised when they are over. The probe is called at
        least once, also with a timeout of 0.
    """
    deadline = clock.monotonic() + timeout
    while True:
        value = probe()
        if value is not None:
            return value
        left = deadline - clock.monotonic()
        if left <= 0:
            raise DriverError(f"Waited {timeout:g} s for {what}, in vain.")
        clock.sleep(min(interval, left))
