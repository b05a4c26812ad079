# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking for the drift of a whole group, and marking what is to be replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.repository import Catalog
from ..module_utils.core.errors import DriverError
from ..module_utils.drift.comparison import Expectation
from ..module_utils.drift.findings import Finding, Report, Rule
from ..module_utils.drift.instance import Instance
from ..module_utils.groups import model
from ..module_utils.groups.backends.instances import INSTANCE_LABEL
from ..module_utils.groups.definition_model import GroupDefinition
from .drift_check import Checker, expectation, image_config, wrong_version
from .group_expectation import (
    group_instances,
    group_rules,
    of_group,
    other_definition,
)

DRIFTED = "drifted: "
"""Begins the reason of a taint of ours."""


@dataclass(frozen=True, slots=True)
class GroupCheck:
    """Compares the instances of a group with what its definition and their versions say.

    :param checker: gives what checks the instances of the engine at an address.
    """

    shop: Workshop
    catalog: Catalog
    definition: GroupDefinition
    checker: Callable[[str], Checker]
    rules: tuple[Rule, ...] = ()
    _expected: dict[str, Expectation] = field(default_factory=dict, init=False)

    def reports(self, members: Sequence[model.Instance]) -> dict[str, Report]:
        """Return a report for each of *members*, by its name in the group.

        DriverError when one that runs is on no engine that the definition names.
        """
        rules = (*group_rules(self.definition), *self.rules)
        wanted = {one.id: one for one in members}
        found: dict[str, Report] = {}
        by_host: dict[str, list[Instance]] = {}
        for host, one in group_instances(self.definition):
            if one.labels[INSTANCE_LABEL] in wanted:
                by_host.setdefault(host, []).append(one)
        for host, instances in by_host.items():
            pairs: list[tuple[Instance, Expectation]] = []
            known: list[list[Finding]] = []
            for one in instances:
                member = wanted[one.labels[INSTANCE_LABEL]]
                expected = self._expectation(member, one)
                if isinstance(expected, str):
                    found[member.id] = wrong_version(one, expected)
                    continue
                pairs.append((one, expected))
                known.append(other_definition(self.definition, member))
            reports = self.checker(host).check(pairs, rules, known)
            for (one, _expected), report in zip(pairs, reports, strict=True):
                found[one.labels[INSTANCE_LABEL]] = report
        unseen = sorted(one.id for one in members if one.alive and one.id not in found)
        if unseen:
            raise DriverError(
                f"Of {', '.join(unseen)} no engine of the group has a container.",
                hint="Name the engines of all nodes in backend.hosts.",
            )
        return dict(sorted(found.items()))

    def _expectation(self, member: model.Instance, instance: Instance) -> Expectation | str:
        """Return what *instance* should be, or why nobody can say."""
        image, number = self.definition.image.name, member.version
        version = self.catalog.version(image, number) if number else None
        if version is None:
            return f"it says that it is {image} {number or 'without a number'}, which is no version"
        if version.index != member.digest:
            return f"it says that it is {member.digest}, which is not {image} {number}"
        if number not in self._expected:
            self._expected[number] = expectation(self.shop, version)
        config = image_config(self.shop, version)
        return of_group(self._expected[number], self.definition, member, instance, config)


def plan_taints(reports: dict[str, Report], tainted: dict[str, str]) -> dict[str, str]:
    """Return the marks to be set, by instance: drifted ones get one, and clean ones lose ours.

    :param tainted: why an instance is to be replaced already; empty when it is not. What somebody
        else said stays.
    """
    wanted: dict[str, str] = {}
    for name, report in reports.items():
        before = tainted.get(name, "")
        if report.drifted and (not before or before.startswith(DRIFTED)):
            after = DRIFTED + report.summary
        elif not report.drifted and before.startswith(DRIFTED):
            after = ""
        else:
            continue
        if after != before:
            wanted[name] = after
    return wanted
