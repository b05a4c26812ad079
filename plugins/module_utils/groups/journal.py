# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a group: one line for each decision, on the disk before it is acted on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path


@dataclass(slots=True)
class Journal:
    """Lines ``TIME ROTATION EVENT text``, appended and synced one by one.

    :param path: the file; None keeps the lines in memory alone.
    :param echo: is given each line too.
    """

    path: Path | None = None
    rotation: str = "-"
    now: Callable[[], float] = time.time
    echo: Callable[[str], None] = field(default=lambda line: None)
    lines: list[str] = field(default_factory=list)

    def write(self, event: str, text: str) -> None:
        """Append one line and have it on the disk; newlines of *text* become spaces."""
        moment = datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        line = f"{moment}Z {self.rotation} {event:<8} {' '.join(text.split())}"
        self.lines.append(line)
        self.echo(line)
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, f"{line}\n".encode("utf-8", "replace"))
            os.fsync(fd)
        finally:
            os.close(fd)
