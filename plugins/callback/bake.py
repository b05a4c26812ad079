# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: bake
type: aggregate
short_description: Ends a failed bake with the failing task's own message
description:
  - Prints, after Ansible's recap, why each image was not baked and what was kept.
  - Prints nothing when all went well.
version_added: 0.1.0
author: kiln.immutable contributors (@kiln-immutable)
requirements:
  - Enabled with C(callbacks_enabled = kiln.immutable.bake) in ansible.cfg.
"""

from typing import Any

from ansible.plugins.callback import CallbackBase

from ..module_utils.report.bake_summary import render_failure
from ..plugin_utils.bytecode import keep_bytecode


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core carries no type hints here
    """Remembers what failed and says it last."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kiln.immutable.bake"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        # A callback is loaded before the actions, and none of the driver's files before it.
        keep_bytecode()
        self._failures: dict[str, dict[str, Any]] = {}

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A build container that is gone ends its image without a report."""
        host = str(result.host.get_name())
        self._failures[host] = {
            "name": host,
            "task": str(result.task.get_name()),
            "message": str(result.result.get("msg", "Its build container cannot be reached.")),
        }

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """The report carries what every failed image came to."""
        for failure in result.result.get("kiln_failures") or []:
            self._failures.setdefault(str(failure["name"]), dict(failure))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Say it, the last of all."""
        for failure in self._failures.values():
            self._display.display("\n" + render_failure(failure), color="red")
