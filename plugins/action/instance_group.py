# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotate or scale an instance group; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.core.canonical import encode
from ..module_utils.core.errors import DriverError
from ..module_utils.core.files import write_whole
from ..module_utils.groups.backend import Backend
from ..module_utils.groups.definition_model import GroupDefinition
from ..module_utils.groups.holder import this_process
from ..module_utils.groups.notes import abort, approve
from ..plugin_utils.group_action import GroupAction


class ActionModule(GroupAction):
    """The action ``kiln.immutable.instance_group``."""

    _VALID_ARGS = frozenset(
        {
            *("group", "version", "channel", "size", "save", "apply", "approve", "abort"),
            *("break_lock", "show"),
        }
    )

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Plan, and unless that is all that is asked for, rotate."""
        definition = self.definition()
        backend = self.backend(definition)
        try:
            signalled = self._signal(definition, backend, task_vars)
            if signalled is not None:
                return signalled
            catalog = self.catalog(task_vars)
            warnings = self.pulled(catalog)
            release = self.release(catalog, definition)
            rotation = self.rotation(task_vars, catalog, backend, definition, release)
            rotation.break_lock = boolean(self._task.args.get("break_lock", False))
            save = self.text("save")
            if save is not None or self._task.check_mode:
                plan = rotation.plan()
                if plan.changes:
                    rotation.preflight(plan)
                if save is not None:
                    write_whole(Path(save).expanduser(), encode(plan.document()) + b"\n")
                found = self.planned(plan)
                if save is not None and not self._task.check_mode:
                    found["changed"] = False
                return {**found, "warnings": warnings} if warnings else found
            result = rotation.rotate()
        finally:
            backend.close()
        said = self.ended(result, definition, self.journal_path(task_vars, definition.name))
        warnings += said.pop("warnings", [])
        return {**said, "warnings": warnings} if warnings else said

    def _signal(
        self, definition: GroupDefinition, backend: Backend, task_vars: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Tell a rotation that goes on elsewhere what the options approve and abort say."""
        wants_abort, wants_approval = self.text("abort"), self.text("approve")
        if wants_abort is None and wants_approval is None:
            return None
        if wants_abort is not None and wants_approval is not None:
            raise DriverError("The options approve and abort are both given; give one.")
        result = {"changed": True, "group": definition.name}
        if self._task.check_mode:
            return result
        by = this_process(str(self.option(task_vars, "kiln_user") or "")).partition(" ")[0]
        if wants_abort is not None:
            result["rotation"] = abort(backend, wants_abort, by)
        else:
            name = "" if wants_approval == "waiting" else str(wants_approval)
            result["rotation"] = approve(backend, name, by)
        return result
