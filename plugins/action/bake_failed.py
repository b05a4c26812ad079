# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Note a failed bake and keep its container when asked; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.build.workshop import fail_image
from ..plugin_utils.bake_action import BakeAction


class ActionModule(BakeAction):
    """The action ``kiln.immutable.bake_failed``."""

    _VALID_ARGS = frozenset({"task", "result", "keep"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Note the failure of this host's image."""
        shop = self.shop(task_vars)
        result = self._task.args.get("result") or {}
        failure = fail_image(
            shop,
            self.session(shop, task_vars),
            str(task_vars["inventory_hostname"]),
            task=str(self._task.args.get("task", "")),
            message=_message(result),
            keep=boolean(self._task.args.get("keep", False)),
        )
        return {"changed": False, **failure}


def _message(result: Mapping[str, Any]) -> str:
    """The task's own words: its message, and what a command of it wrote to standard error."""
    for item in result.get("results") or []:
        if isinstance(item, Mapping) and item.get("failed"):
            return _message(item)
    parts = [str(result.get("msg") or ""), str(result.get("stderr") or "")]
    return "\n".join(part.strip() for part in parts if part.strip()) or "It gave no message."
