# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an upload was received, written down so that a killed one goes on where it was."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from ..core.errors import DriverError
from ..core.files import LockBusy, locked


class Journal:
    """A file whose first line names the upload, and each other one a block that was received.

    It is written to after the answer, so a block may be sent twice and none is missed. It is used
    inside of ``held`` only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.upload = ""
        self.received: set[int] = set()
        self._writing = Lock()

    @contextlib.contextmanager
    def held(self, *, what: str) -> Iterator[None]:
        """Keep others from the same upload, and read what a run before this one left.

        DriverError when another run is at *what*.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self.path.with_suffix(".lock"), wait=False))
            except LockBusy as error:
                raise DriverError(f"Another run is at {what}; wait for it to end.") from error
            self._read()
            yield

    def begin(self, upload: str) -> None:
        """Forget what was before: *upload* has received nothing yet."""
        self.upload, self.received = upload, set()
        self.path.write_text(f"{upload}\n", encoding="ascii")

    def note(self, block: int) -> None:
        """Write down that *block* was received; threads may do so at once."""
        with self._writing:
            self.received.add(block)
            with self.path.open("a", encoding="ascii") as stream:
                stream.write(f"{block}\n")

    def end(self) -> None:
        """The upload is complete, and nothing of it has to be known any more."""
        self.upload, self.received = "", set()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def _read(self) -> None:
        self.upload, self.received = "", set()
        with contextlib.suppress(FileNotFoundError):
            # A line that a killed process did not end is not one.
            lines = self.path.read_text("ascii").split("\n")[:-1]
            if lines:
                self.upload, self.received = lines[0], {int(line) for line in lines[1:]}
