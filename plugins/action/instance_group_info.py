# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what an instance group runs; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..module_utils.core.errors import DriverError
from ..module_utils.groups.notes import read_progress, read_state
from ..module_utils.report.catalog_tables import render_groups
from ..plugin_utils.group_action import GroupAction


class ActionModule(GroupAction):
    """The action ``kiln.immutable.instance_group_info``."""

    _VALID_ARGS = frozenset({"group", "version", "channel", "size", "show"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask the backend of one group, or the catalog of all."""
        catalog = self.catalog(task_vars)
        warnings = self.pulled(catalog)
        if not self._task.args.get("group"):
            groups = [one.as_document() for one in catalog.groups()]
            lines = render_groups(groups)
            self.show(lines)
            result: dict[str, Any] = {"changed": False, "groups": groups, "table": lines}
            return {**result, "warnings": warnings} if warnings else result
        definition = self.definition()
        backend = self.backend(definition)
        try:
            observed = backend.observe()
            state, progress = read_state(backend), read_progress(backend)
            lock = backend.read_lock()
            result = {
                "changed": False,
                "group": definition.name,
                "instances": [
                    {**asdict(one), "serving": one.serving} for one in observed.instances
                ],
                "hosts": [asdict(one) for one in observed.hosts],
                "current": None if state.current is None else asdict(state.current),
                "previous": [asdict(one) for one in state.previous],
                "rotation": None if progress is None else asdict(progress),
                "lock": None if lock is None else asdict(lock),
                "journal": str(self.journal_path(task_vars, definition.name)),
            }
            try:
                release = self.release(catalog, definition)
                rotation = self.rotation(task_vars, catalog, backend, definition, release)
                planned = self.planned(rotation.plan())
                result.update(pending=planned["changed"], table=planned["table"])
            except DriverError as error:
                # What runs can be told without knowing what should.
                warnings.append(str(error))
                result.update(pending=None, table=[])
        finally:
            backend.close()
        return {**result, "warnings": warnings} if warnings else result
