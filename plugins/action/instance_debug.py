# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make or remove a copy of an instance to look into; see the module of the same name."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.core.errors import DriverError
from ..module_utils.drift.debug_copy import Copier, DebugCopy, Wish
from ..module_utils.drift.instance import find_instances
from ..plugin_utils.catalog_action import CatalogAction
from ..plugin_utils.drift_check import client_of, toolbox_at

HOURS = 8.0
_STATES = ("present", "absent")


class ActionModule(CatalogAction):
    """The action ``kiln.immutable.instance_debug``."""

    _VALID_ARGS = frozenset(
        {"instance", "host", "state", "hours", "network", "command", "pause", "mirror"}
    )

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Remove the copies whose time is over, and do what is asked."""
        state, host = self.text("state") or "present", self.text("host") or ""
        if state not in _STATES:
            raise DriverError(f"The option state must be present or absent, not {state}.")
        name, now = self.text("instance"), time.time()
        if name is None and state == "present":
            raise DriverError("The option instance is not given: of which is there to be a copy?")
        idle = Copier("", client_of(host))
        going = {one.name: one for one in idle.expired(now)}
        if state == "absent":
            wanted = idle.copies(name or "")
            going |= {one.name: one for one in wanted}
        made: list[DebugCopy] = []
        if not self._task.check_mode:
            for one in going.values():
                idle.remove(one)
        if state == "present" and name is not None:
            (instance,) = find_instances([name], client=client_of(host))
            wish = Wish(
                until=now + self.number("hours", HOURS) * 3600,
                network=self.text("network") or "none",
                command=tuple(self.listed("command")),
                pause=boolean(self._task.args.get("pause", False)),
            )
            if not self._task.check_mode:
                mirror = self.text("mirror") or self.option(task_vars, "kiln_toolbox_mirror")
                toolbox = toolbox_at(
                    self.shop(task_vars), host, mirror=str(mirror) if mirror else None, say=self.say
                )
                made.append(Copier(toolbox, client_of(host)).make(instance, wish))
        result: dict[str, Any] = {
            "changed": bool(going) or state == "present",
            "removed": sorted(going),
            "container": made[0].name if made else None,
            "volumes": dict(made[0].volumes) if made else {},
        }
        if made:
            result["shell"] = f"docker exec --interactive --tty {made[0].name} sh"
        if self._task.diff:
            told = [f"- {one}" for one in sorted(going)]
            told += [f"+ a copy of {name}"] if state == "present" else []
            result["diff"] = {"prepared": "".join(f"{line}\n" for line in told)}
        return result
