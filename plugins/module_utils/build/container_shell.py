# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One process in a container that runs one command after the other.

A command that the engine starts takes a tenth of a second before it does anything, and a disk takes
dozens of them.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from typing import IO

from ..core.command import Completed
from ..core.errors import DriverError

# A line of JSON and the bytes of standard input; back come the status and both outputs.
_PROGRAM = """\
import json, subprocess, sys
asking, answering = sys.stdin.buffer, sys.stdout.buffer
for line in asking:
    argv, size = json.loads(line)
    try:
        done = subprocess.run(argv, input=asking.read(size), capture_output=True)
        status, output, errors = done.returncode, done.stdout, done.stderr
    except OSError as error:
        status, output, errors = 127, b"", str(error).encode()
    answering.write(b"%d %d %d\\n" % (status, len(output), len(errors)) + output + errors)
    answering.flush()
"""


class ContainerShell:
    """Runs commands in a container that has Python; see container_shell."""

    def __init__(self, container: str, asking: IO[bytes], answering: IO[bytes]) -> None:
        self._container = container
        self._asking = asking
        self._answering = answering

    def run(self, argv: Sequence[str], stdin: bytes | None = None) -> Completed:
        """Run *argv* to its end, whatever its status; DriverError when the container is gone."""
        given = stdin or b""
        with contextlib.suppress(BrokenPipeError):
            self._asking.write(json.dumps([list(argv), len(given)]).encode() + b"\n" + given)
            self._asking.flush()
        said = self._answering.readline().split()
        if len(said) != 3:
            raise DriverError(f"{self._container} ended while {argv[0]} ran in it.")
        status, output, errors = map(int, said)
        return Completed(status, self._answering.read(output), self._answering.read(errors))


@contextlib.contextmanager
def container_shell(container: str) -> Iterator[ContainerShell]:
    """Give a shell in *container* for the time of the block."""
    argv = ["docker", "exec", "--interactive", container, "python3", "-I", "-c", _PROGRAM]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        asking: IO[bytes] = process.stdin  # type: ignore[assignment]  # PIPE was asked for
        answering: IO[bytes] = process.stdout  # type: ignore[assignment]  # PIPE was asked for
        try:
            yield ContainerShell(container, asking, answering)
        finally:
            with contextlib.suppress(BrokenPipeError):
                asking.close()
