# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs what is measured in a process group of its own, so that none of it outlives an interrupt.

A bake and a build start many processes, which must end, and tidy up after themselves, before the
bench removes what they made. core's ``run`` knows of the first process only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.core.waiting import wait_for

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 40.0
"""Seconds that interrupted programs have for their own tidying up."""


def interrupts_raise() -> None:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does, also in the background."""
    for number in INTERRUPTS:
        signal.signal(number, signal.default_int_handler)


def ignore_interrupts() -> None:
    """From now on tidy up: a second interrupt must not leave half of it behind."""
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)


def run_grouped(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, timeout: float
) -> int:
    """Run *argv* with both outputs in *log*; return its exit status.

    When the bench is interrupted meanwhile, or after *timeout* seconds, which raises DriverError,
    all of the group is interrupted and waited for; what does not end within GRACE is killed.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "LC_ALL": "C.UTF-8", **env},
            cwd=cwd,
            start_new_session=True,
        )
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired as error:
        raise DriverError(f"{argv[0]} did not end within {timeout:g} s.") from error
    finally:
        if process.returncode is None:
            ignore_interrupts()
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    def gone() -> bool | None:
        process.poll()
        return None if _signal_group(process.pid, 0) else True

    _signal_group(process.pid, signal.SIGINT)
    try:
        wait_for(f"{process.args!r} to end", gone, timeout=GRACE)
    except DriverError:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _signal_group(group: int, number: int) -> bool:
    """Send signal *number* to *group*; return whether there is such a group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
        return True
    return False
