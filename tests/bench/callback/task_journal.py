# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: task_journal
type: aggregate
short_description: Writes a line for each task that ran, for the bench
description: One JSON object a line, appended to the file that E(KILN_BENCH_JOURNAL) names.
author: kiln.immutable contributors (@kiln-immutable)
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core carries no type hints
    """Notes host, role, action and seconds of each task that was not skipped."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_journal"

    def __init__(self) -> None:
        super().__init__()
        self._journal = os.environ.get("KILN_BENCH_JOURNAL")
        self._started: dict[tuple[str, str], float] = {}

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Start the clock of a task on a host."""
        self._started[host.get_name(), task._uuid] = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        """Note a task that ended well."""
        self._note(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Note a task that failed."""
        self._note(result)

    def _note(self, result: Any) -> None:
        if not self._journal:
            return
        host, task = result._host.get_name(), result._task
        started = self._started.pop((host, task._uuid), None)
        line = {
            "host": host,
            "role": task._role.get_name() if task._role else "",
            "action": task.action,
            "name": task.get_name(),
            "seconds": 0.0 if started is None else round(time.monotonic() - started, 3),
        }
        with open(self._journal, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
