# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to run a program."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .errors import DriverError


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program left behind: its exit status and its two outputs."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text, without the last newline."""
        return self.stdout.decode("utf-8", "replace").rstrip("\n")


class Runner(Protocol):
    """Runs a program to its end; tests pass one that answers from a table."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> Completed: ...


def run(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    timeout: float | None = None,
) -> Completed:
    """Run *argv* without a shell and return its outputs.

    :param env: added to this process's environment, in the C.UTF-8 locale.
    :param check: raise DriverError, with the end of its error output, when it exits non-zero.
    :param timeout: seconds; a program still running then is killed, and DriverError raised.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=environment,
            cwd=cwd,
            check=False,
            timeout=timeout,
        )
    except FileNotFoundError as error:
        missing = error.filename or argv[0]
        raise DriverError(
            f"The program {missing} is not installed.",
            hint=f"Install it (on Debian: apt-get install {argv[0]}) or put it on the PATH.",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DriverError(
            f"{argv[0]} did not end within {timeout:g} s: {shlex.join(argv)}"
        ) from error
    completed = Completed(done.returncode, done.stdout, done.stderr)
    if check and completed.status != 0:
        raise DriverError(
            f"{argv[0]} failed with exit status {completed.status}: {last_lines(completed)}",
            details={"command": shlex.join(argv), "status": completed.status},
        )
    return completed


def last_lines(completed: Completed, count: int = 5) -> str:
    """Return the last *count* lines of what a program said, its errors before its output."""
    said = completed.stderr.strip() or completed.stdout.strip()
    lines = said.decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-count:]) or "it said nothing"
