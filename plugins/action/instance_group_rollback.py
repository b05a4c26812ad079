# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let a group go back to a version that it ran; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.core.errors import DriverError
from ..module_utils.groups.definition import as_then
from ..module_utils.groups.definition_model import GroupDefinition
from ..module_utils.groups.notes import Generation, GroupState, read_state
from ..plugin_utils.group_action import GroupAction


class ActionModule(GroupAction):
    """The action ``kiln.immutable.instance_group_rollback``."""

    _VALID_ARGS = frozenset({"group", "to", "break_lock", "show"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Rotate to a generation that the group ran, with its settings of then, surge first."""
        definition = self.definition()
        backend = self.backend(definition)
        try:
            catalog = self.catalog(task_vars)
            warnings = self.pulled(catalog)
            generation = self._generation(definition, read_state(backend))
            backend.close()
            if generation.document:
                definition = as_then(definition, generation.document)
            backend = self.backend(definition)
            rotation = self.rotation(
                task_vars, catalog, backend, definition, generation.release, plain=True
            )
            rotation.break_lock = boolean(self._task.args.get("break_lock", False))
            if self._task.check_mode:
                plan = rotation.plan()
                if plan.changes:
                    rotation.preflight(plan)
                return self.planned(plan)
            result = rotation.rotate()
        finally:
            backend.close()
        said = self.ended(result, definition, self.journal_path(task_vars, definition.name))
        warnings += said.pop("warnings", [])
        return {**said, "warnings": warnings} if warnings else said

    def _generation(self, definition: GroupDefinition, state: GroupState) -> Generation:
        wanted = self.text("to")
        if wanted is None:
            if not state.previous:
                raise DriverError(f"The group {definition.name} ran nothing before.")
            return state.previous[0]
        found = state.find(wanted)
        if found is not None:
            return found
        current = state.current
        if current is not None and wanted in {current.release.version, current.release.digest}:
            return current
        known = ", ".join(dict.fromkeys(one.release.version for one in state.previous))
        raise DriverError(
            f"The group {definition.name} has not run {wanted}.",
            hint=f"It ran {known}." if known else "It ran nothing before.",
        )
