# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to a group while a test looks on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ansible_collections.kiln.immutable.plugins.module_utils.groups.work import Result
from ansible_collections.kiln.immutable.tests.integration.groups.group import Group


def another(group: Group) -> str:
    """Return the one of two good releases that *group* does not serve; begin with v1."""
    now = group.versions()
    if len(now) != group.size or set(now) not in ({"v1"}, {"v2"}):
        assert group.rotate("v1").succeeded
        return "v2"
    return "v1" if now[0] == "v2" else "v2"


def present(group: Group) -> str:
    """Return the good release that *group* serves."""
    return "v1" if another(group) == "v2" else "v2"


def until(what: str, probe: Callable[[], bool]) -> None:
    """Wait for at most a minute."""
    end = time.monotonic() + 60
    while not probe():
        assert time.monotonic() < end, f"waited for {what} in vain"
        time.sleep(0.05)


class Pause:
    """A clock by which a rotation rests once, while something is done that must not meet it.

    :param then: done when the rotation has decided for the first time.
    """

    def __init__(self, group: Group, then: Callable[[], None]) -> None:
        self._journal = group.journal
        self._known = self._decisions()
        self._then: Callable[[], None] | None = then
        # The lease is kept by another thread, which goes by this clock too.
        self._rotates = threading.current_thread()

    def monotonic(self) -> float:
        """Return the seconds of the system's clock."""
        return time.monotonic()

    def sleep(self, seconds: float, /) -> None:
        """Let seconds pass, and do what is to be done when its time has come."""
        then = self._then
        here = threading.current_thread() is self._rotates
        if then and here and self._decisions() > self._known:
            self._then = None
            then()
        time.sleep(seconds)

    @property
    def done(self) -> bool:
        """Whether it was done."""
        return self._then is None

    def _decisions(self) -> int:
        return self._journal.read_text().count(" decide ")


def in_the_middle(group: Group, release: str, then: Callable[[], None]) -> Result:
    """Rotate, and do *then* when the first new instance is there."""
    results: list[Result] = []
    known = group.journal.read_text().count(" decide ")
    thread = threading.Thread(target=lambda: results.append(group.rotate(release)))
    thread.start()
    until("the first decision", lambda: group.journal.read_text().count(" decide ") > known)
    try:
        then()
    finally:
        thread.join()
    return results[0]
