# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a lock: this process, by user, host and when it began."""

from __future__ import annotations

import getpass
import os
import re
import socket
from pathlib import Path

_HOLDER = re.compile(r".+@(?P<host>[^ ]+) \(process (?P<pid>[0-9]+), (?P<began>[0-9]+)\)")


def this_process(user: str = "") -> str:
    """Return ``USER@HOST (process PID, START)``, which no other process has ever.

    START is the kernel's count of ticks from the machine's start to the process's.
    """
    pid = os.getpid()
    return f"{user or _user()}@{socket.gethostname()} (process {pid}, {_began(pid)})"


def is_gone(holder: str) -> bool:
    """Whether *holder* is a process of this host that ended; of others nothing is known."""
    found = _HOLDER.fullmatch(holder)
    if found is None or found["host"] != socket.gethostname():
        return False
    return _began(int(found["pid"])) != int(found["began"])


def _began(pid: int) -> int:
    """Return when process *pid* began, 0 when there is none (proc(5), /proc/PID/stat)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] in {"Z", "X"} else int(fields[19])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
