# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that is asked again and again, where starting it for each question costs too much."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence

from .waiting import Clock

_PIECE = 1 << 16


class Ended(Exception):
    """The program ended, or did not answer in time; nothing more can be asked of it."""


class Conversation:
    """A running program; it ends when :meth:`close` is called or this process ends.

    It is in a session of its own: an interrupt from the terminal is for whoever asks.

    :param env: added to this process's environment, in the C.UTF-8 locale.
    """

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, clock: Clock = time
    ) -> None:
        self._clock = clock
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (close does)
        self._process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            start_new_session=True,
        )

    def ask(self, question: bytes, mark: bytes, timeout: float) -> tuple[bytes, bytes]:
        """Send *question*; return the answer up to the line that begins with *mark*, and its rest.

        Raises Ended.

        :param mark: nothing that an answer may hold.
        :param timeout: seconds.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise Ended("it has no pipes")
        try:
            stdin.write(question)
            stdin.flush()
        except (OSError, ValueError) as error:
            raise Ended(self._last_words() or str(error)) from error
        end = self._clock.monotonic() + timeout
        answer = bytearray()
        while True:
            left = end - self._clock.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                raise Ended(f"it did not answer within {timeout:g} s")
            piece = os.read(stdout.fileno(), _PIECE)
            if not piece:
                raise Ended(self._last_words() or "it ended")
            answer += piece
            if answer.endswith(b"\n"):
                before, found, rest = bytes(answer).partition(b"\n" + mark)
                if found:
                    return before, rest.strip()

    def close(self) -> None:
        """End the program: by the end of its input, or by force."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""
