# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine's own interface (Docker Engine API v1.41), through one client that stays.

``docker system dial-stdio`` hands its input to the engine and back: it is what clients reach each
other's engines with over SSH. So contexts, addresses and keys are the client's as they always are,
and a question takes a few milliseconds instead of the start of a program.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from threading import Lock
from typing import Any
from urllib.parse import quote, urlencode

_GOOD = range(200, 300)
_NOT_FOUND = 404


class Unanswered(Exception):
    """The engine did not answer here, or not well: ask it as usual, which says why."""


class Line:
    """A connection to the engine that the client speaks to; begun with the first question.

    :param env: added to this process's environment for the client.
    :param timeout: seconds for an answer.
    """

    def __init__(self, env: Mapping[str, str], timeout: float) -> None:
        self._env = env
        self._timeout = timeout
        self._turn = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: HTTPConnection | None = None
        self._answered = False
        self._useless = False

    def ask(
        self, method: str, path: str, body: object = None, **query: str | Mapping[str, Any]
    ) -> Any:
        """Return the engine's answer as JSON, None when what *path* names is not there.

        Raises Unanswered.

        :param query: parameters; a mapping is sent as JSON.
        """
        words = {
            key: one if isinstance(one, str) else json.dumps(one) for key, one in query.items()
        }
        target = quote(path) + (f"?{urlencode(words)}" if words else "")
        content = None if body is None else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        with self._turn:
            if self._useless:
                raise Unanswered
            try:
                connection = self._connection or self._begin()
                connection.request(method, target, content, kind)
                answer = connection.getresponse()
                said = answer.read()
            except (OSError, HTTPException) as error:
                self._end()
                # A client that cannot do it at all is not asked again.
                self._useless = not self._answered
                raise Unanswered from error
            self._answered = True
        if answer.status == _NOT_FOUND:
            return None
        if answer.status not in _GOOD:
            raise Unanswered(said.decode("utf-8", "replace"))
        return json.loads(said) if said else {}

    def close(self) -> None:
        """End the connection for good."""
        with self._turn:
            self._end()
            self._useless = True

    def _begin(self) -> HTTPConnection:
        here, there = socket.socketpair()
        try:
            with there:
                self._process = subprocess.Popen(
                    ["docker", "system", "dial-stdio"],
                    stdin=there.fileno(),
                    stdout=there.fileno(),
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "LC_ALL": "C.UTF-8", **self._env},
                    # An interrupt from the terminal is for whoever asks.
                    start_new_session=True,
                )
        except OSError:
            here.close()
            raise
        here.settimeout(self._timeout)
        self._connection = HTTPConnection("docker")
        self._connection.sock = here
        self._connection.auto_open = 0
        return self._connection

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            self._process.kill()
            self._process.wait()
            self._process = None
