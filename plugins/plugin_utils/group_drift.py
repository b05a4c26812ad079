# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking for the drift of a whole group, and marking what is to be replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.repository import Catalog
from ..module_utils.core.errors import DriverError
from ..module_utils.drift.comparison import Expectation
from ..module_utils.drift.findings import Finding, Report, Rule
from ..module_utils.drift.instance import Instance
from ..module_utils.groups.backend import Backend
from ..module_utils.groups.backends.instances import INSTANCE_LABEL
from ..module_utils.groups.definition_model import GroupDefinition
from .drift_check import Checker, expectation, image_config, wrong_version
from .group_expectation import (
    group_instances,
    group_rules,
    of_group,
    other_definition,
    recorded_version,
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

    def reports(self, only: frozenset[str] = frozenset()) -> dict[str, Report]:
        """Return a report for each instance, by its name in the group.

        :param only: names of those that are looked at; all when it is empty.
        """
        rules = (*group_rules(self.definition), *self.rules)
        found: dict[str, Report] = {}
        by_host: dict[str, list[Instance]] = {}
        for host, one in group_instances(self.definition):
            if not only or {one.name, one.labels[INSTANCE_LABEL]} & only:
                by_host.setdefault(host, []).append(one)
        for host, instances in by_host.items():
            pairs: list[tuple[Instance, Expectation]] = []
            known: list[list[Finding]] = []
            for one in instances:
                expected = self._expectation(one)
                if isinstance(expected, str):
                    found[one.labels[INSTANCE_LABEL]] = wrong_version(one, expected)
                    continue
                pairs.append((one, expected))
                known.append(other_definition(self.definition, one))
            reports = self.checker(host).check(pairs, rules, known)
            for (one, _expected), report in zip(pairs, reports, strict=True):
                found[one.labels[INSTANCE_LABEL]] = report
        return dict(sorted(found.items()))

    def _expectation(self, instance: Instance) -> Expectation | str:
        """Return what *instance* should be, or why nobody can say."""
        image = self.definition.image.name
        number, digest = recorded_version(instance)
        version = self.catalog.version(image, number) if number else None
        if version is None:
            return f"it says that it is {image} {number or 'without a number'}, which is no version"
        if version.index != digest:
            return f"it says that it is {digest}, which is not {image} {number}"
        if number not in self._expected:
            self._expected[number] = expectation(self.shop, version)
        config = image_config(self.shop, version)
        return of_group(self._expected[number], self.definition, instance, config)


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


def taint(backend: Backend, marks: dict[str, str]) -> None:
    """Set the *marks* in the backend."""
    for name, reason in marks.items():
        backend.taint(name, reason)


def open_backend(definition: GroupDefinition) -> Backend:
    """Return the backend that drives the group of *definition*."""
    from ..module_utils.groups.backends.docker import DockerBackend

    if definition.backend.kind != "docker":
        raise DriverError(
            f"{definition.at('backend')}: instances of the backend {definition.backend.kind} cannot"
            " be marked."
        )
    return DockerBackend(definition)
