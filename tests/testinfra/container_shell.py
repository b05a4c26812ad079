# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A testinfra backend that keeps one shell of a container or machine open for all its commands.

Checks of controls are thousands of commands. A ``docker exec`` asks client, daemon and runtime for
each of them; here each is a fork or two in the container. A machine whose processor is translated
takes seconds to log somebody in and to make him root.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shlex
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

LIMIT = 120.0  # seconds that a command may take
# In memory and on another file system than the root, so that no check finds it.
ERR = "/dev/shm/kiln-check.err"
_PIECE = 1 << 16


class ContainerShell(BaseBackend):  # type: ignore[misc]  # testinfra carries no type hints here
    """Runs commands as root in the container *name*, which has ``sh`` and coreutils.

    :param opened_by: the command that opens the shell, where it is not in a container.
    """

    NAME = "shell"

    def __init__(self, name: str, opened_by: Sequence[str] = ()) -> None:
        super().__init__(name)
        command = opened_by or ["docker", "exec", "--interactive", "--user", "0", name, "/bin/sh"]
        self._shell = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # ssh(1) would leave ours non-blocking, which Ansible does not start with.
            stderr=subprocess.DEVNULL if opened_by else None,
        )

    def run(self, command: str, *args: str, **_options: Any) -> CommandResult:
        """Run *command* in a subshell of its own and return how it ended."""
        whole = self.get_command(command, *args)
        # No output has this. Another program to tell sizes by would take longer than most commands.
        mark = secrets.token_hex(16)
        line = (
            f"(eval {shlex.quote(whole)}) </dev/null 2>{ERR}; printf '\\n{mark} %d\\n' $?; "
            f"[ ! -s {ERR} ] || cat {ERR}; printf '\\n{mark}\\n'\n"
        )
        assert self._shell.stdin is not None
        self._shell.stdin.write(line.encode())
        self._shell.stdin.flush()
        end = f"\n{mark}\n".encode()
        answer = self._read_until(end, whole)
        stdout, _mark, rest = answer.removesuffix(end).partition(f"\n{mark} ".encode())
        status, _newline, stderr = rest.partition(b"\n")
        return self.result(int(status), whole.encode(), stdout, stderr)

    def _read_until(self, end: bytes, command: str) -> bytes:
        """Return what the shell says, up to and with *end*."""
        assert self._shell.stdout is not None
        said, deadline = bytearray(), time.monotonic() + LIMIT
        while not said.endswith(end):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._shell.stdout], [], [], left)[0]:
                raise RuntimeError(f"Not done in {self.hostname} within {LIMIT:g} s: {command}")
            piece = os.read(self._shell.stdout.fileno(), _PIECE)
            if not piece:
                raise RuntimeError(f"The shell in {self.hostname} ended at: {command}")
            said += piece
        return bytes(said)

    def get_encoding(self) -> str:
        """Return the encoding of what commands print, without asking a Python in the container."""
        return "UTF-8"

    def close(self) -> None:
        """End the shell."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it ended by itself
            self._shell.stdin.write(f"rm -f {ERR}\n".encode())
            self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.wait()


def open_host(name: str, opened_by: Sequence[str] = ()) -> Host:
    """Return a container as a testinfra host; whoever is done with it closes its backend.

    :param opened_by: the command that opens a shell, where it is not in a container.
    """
    return Host(ContainerShell(name, opened_by))


def is_container(host: Host) -> bool:
    """Return whether *host* is a container, by its own name or by what the inventory says of it."""
    if host.backend.get_connection_type() == "ansible":
        connection = host.backend.get_variables().get("ansible_connection")
        return connection in ("docker", "community.docker.docker")
    return bool(host.backend.get_connection_type() == "docker")
