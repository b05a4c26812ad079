# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests on a group while it is changed, and how many of them failed."""

from __future__ import annotations

import re
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

_PAUSES = Path(__file__).with_name("pause.lua")
_LAST = ("nice", "-n", "15")
_REQUESTS = re.compile(r"(\d+) requests in")
_SOCKET = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
_STATUS = re.compile(r"Non-2xx or 3xx responses: (\d+)")


@dataclass(frozen=True)
class Counted:
    """What users got."""

    requests: int
    failed: int
    said: str = ""


def count(output: str) -> Counted:
    """Return what wrk(1) counted: a connection error, a time-out and a bad status are failures."""
    requests = _REQUESTS.search(output)
    assert requests, output
    socket = _SOCKET.search(output)
    status = _STATUS.search(output)
    failed = sum(int(number) for number in socket.groups()) if socket else 0
    return Counted(int(requests[1]), failed + (int(status[1]) if status else 0), output)


class Knocking:
    """One user who knocks all the time, each time on a new connection, and notes who opened."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._knock)
        self.answered: list[tuple[float, bool]] = []
        """When each request was sent, and whether it was answered well."""

    def __enter__(self) -> Knocking:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _knock(self) -> None:
        while not self._over.wait(0.02):
            sent = time.monotonic()
            try:
                with urllib.request.urlopen(self._url, timeout=15) as answer:
                    well = answer.status == 200
            except OSError:
                well = False
            self.answered.append((sent, well))


class Load:
    """Two sorts of users for as long as the block lasts: many quick requests, and slow ones.

    Connections are kept open. wrk ends by SIGINT, and then tells what it counted.

    :param pause: milliseconds between an answer and the next quick request of its connection.
    """

    def __init__(
        self, url: str, *, slow: bool = True, connections: int = 12, pause: int = 10
    ) -> None:
        # What the machine has left: a rotation is not to wait for its own users.
        wrk = [*_LAST, "wrk", "-t1", "-d1h", "--timeout", "15s"]
        paced = ["-s", str(_PAUSES), f"{url}/", "--", str(pause)]
        commands = [[*wrk, f"-c{connections}", *paced]]
        if slow:
            commands.append([*wrk, "-c3", f"{url}/slow"])
        self._commands = commands
        self._running: list[subprocess.Popen[str]] = []
        self.counted: list[Counted] = []

    def __enter__(self) -> Load:
        self._running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for command in self._commands
        ]
        return self

    def __exit__(self, *_error: object) -> None:
        for process in self._running:
            process.terminate() if process.poll() is not None else process.send_signal(2)
        self.counted = [count(process.communicate(timeout=60)[0]) for process in self._running]

    @property
    def requests(self) -> int:
        """How many requests were answered."""
        return sum(one.requests for one in self.counted)

    @property
    def failed(self) -> int:
        """How many were not, or with an error."""
        return sum(one.failed for one in self.counted)
