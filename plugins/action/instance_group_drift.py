# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare running instances with their versions; see the module of the same name."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.core.errors import DriverError
from ..module_utils.drift.findings import Report, Rule, read_rules, render
from ..module_utils.drift.instance import find_instances
from ..module_utils.groups.definition_model import GroupDefinition
from ..plugin_utils.catalog_action import CatalogAction
from ..plugin_utils.drift_check import (
    Asked,
    Checker,
    checker_of,
    client_of,
    expectation,
    version_of,
)
from ..plugin_utils.group_action import GroupAction

LINES = 40


class ActionModule(GroupAction):
    """The action ``kiln.immutable.instance_group_drift``."""

    _VALID_ARGS = frozenset(
        {
            *("group", "instances", "label", "host", "image", "version", "ignore", "state"),
            *("settings", "taint", "lines", "show", "mirror"),
        }
    )

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read the instances, tell in what they differ, and mark them where that is asked for."""
        rules = read_rules(self._task.args.get("ignore") or [], "The option ignore")
        group = self.definition() if self._task.args.get("group") else None
        marks: dict[str, str] = {}
        if group is None:
            if boolean(self._task.args.get("taint", False)):
                raise DriverError("Instances are marked in their group: give the option group.")
            reports = self._containers(task_vars, rules)
        else:
            reports, marks = self._of_group(task_vars, group, rules)
        lines = [line for one in reports for line in render(one, int(self.number("lines", LINES)))]
        lines += [f"{name}: {_marked(reason)}" for name, reason in sorted(marks.items())]
        self.show(lines)
        result: dict[str, Any] = {
            "changed": bool(marks),
            "drifted": [one.instance for one in reports if one.drifted],
            "tainted": sorted(name for name, reason in marks.items() if reason),
            "instances": [one.as_json() for one in reports],
            "table": lines,
        }
        if self._task.diff:
            result["diff"] = {"prepared": "".join(f"{line}\n" for line in lines)}
        return result

    def _store(self, task_vars: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
        # Unlike a rotation it reads what the store has, and does not take long.
        return CatalogAction._store(self, task_vars)

    def _of_group(
        self, task_vars: Mapping[str, Any], group: GroupDefinition, rules: tuple[Rule, ...]
    ) -> tuple[list[Report], dict[str, str]]:
        for name in ("label", "host", "image", "version", "state", "settings"):
            if self._task.args.get(name):
                raise DriverError(f"The option {name} is not for a group: its definition says it.")
        from ..plugin_utils.group_drift import GroupCheck, plan_taints

        def checker(host: str) -> Checker:
            return self._checker(task_vars, host)

        check = GroupCheck(self.shop(task_vars), self.catalog(task_vars), group, checker, rules)
        only = set(self.listed("instances"))
        backend = self.backend(group)
        try:
            members = [one for one in backend.observe().instances if not only or one.id in only]
            if missing := sorted(only - {one.id for one in members}):
                raise DriverError(f"The group {group.name} has no instance {', '.join(missing)}.")
            found = check.reports(members)
            marks: dict[str, str] = {}
            if boolean(self._task.args.get("taint", False)):
                marks = plan_taints(found, {one.id: one.tainted for one in members})
                if not self._task.check_mode:
                    for name, reason in marks.items():
                        backend.taint(name, reason)
        finally:
            backend.close()
        return list(found.values()), marks

    def _containers(self, task_vars: Mapping[str, Any], rules: tuple[Rule, ...]) -> list[Report]:
        names, label, host = self.listed("instances"), self.text("label"), self.text("host") or ""
        if not names and not label:
            raise DriverError("Say which instances: give the option group, instances or label.")
        shop, catalog, asked = self.shop(task_vars), self.catalog(task_vars), self._asked()
        pairs = []
        for one in find_instances(names, label=label or "", client=client_of(host)):
            version = version_of(catalog, one, self.text("image") or "", self.text("version") or "")
            pairs.append((one, expectation(shop, version, asked)))
        return self._checker(task_vars, host).check(pairs, rules)

    def _checker(self, task_vars: Mapping[str, Any], host: str) -> Checker:
        mirror = self.text("mirror") or self.option(task_vars, "kiln_toolbox_mirror")
        place = str(mirror) if mirror else None
        return checker_of(self.shop(task_vars), host, mirror=place, say=self.say)

    def _asked(self) -> Asked:
        settings = self._task.args.get("settings") or {}
        if not isinstance(settings, Mapping):
            raise DriverError("The option settings must be a mapping, such as {memory: 268435456}.")
        return Asked(state=tuple(self.listed("state")), settings=dict(settings))


def _marked(reason: str) -> str:
    return f"marked, the next rotation replaces it ({reason})" if reason else "no longer marked"
