# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A testinfra backend that keeps one shell of a container or machine open for all its commands.

Checks of controls are thousands of commands. A ``docker exec`` asks client, daemon and runtime for
each of them; here each is a few forks in the container. A machine whose processor is translated
takes seconds to log somebody in and to make him root.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Sequence
from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

LIMIT = 120  # seconds that a command may take; timeout(1) ends it with status 124
# In memory and on another file system than the root, so that no check finds it.
OUT, ERR = "/dev/shm/kiln-check.out", "/dev/shm/kiln-check.err"
_ANSWER = f'echo "$?" $(stat -c %s {OUT} {ERR}); cat {OUT} {ERR}\n'


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
        """Run *command* by a shell of its own and return how it ended."""
        whole = self.get_command(command, *args)
        quoted = shlex.quote(whole)
        line = f"timeout {LIMIT} /bin/sh -c {quoted} </dev/null >{OUT} 2>{ERR}; {_ANSWER}"
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(line.encode())
        self._shell.stdin.flush()
        answer = self._shell.stdout.readline().split()
        if len(answer) != 3:
            raise RuntimeError(f"The shell in {self.hostname} ended at: {whole}")
        status, out, err = (int(word) for word in answer)
        stdout = self._shell.stdout.read(out)
        stderr = self._shell.stdout.read(err)
        return self.result(status, whole.encode(), stdout, stderr)

    def get_encoding(self) -> str:
        """Return the encoding of what commands print, without asking a Python in the container."""
        return "UTF-8"

    def close(self) -> None:
        """End the shell."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it ended by itself
            self._shell.stdin.write(f"rm -f {OUT} {ERR}\n".encode())
            self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.wait()


def open_host(name: str, opened_by: Sequence[str] = ()) -> Host:
    """Return a container as a testinfra host; whoever is done with it closes its backend.

    :param opened_by: the command that opens a shell, where it is not in a container.
    """
    return Host(ContainerShell(name, opened_by))
