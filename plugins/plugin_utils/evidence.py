# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping what can be known of an instance that failed, before it is removed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.repository import Catalog
from ..module_utils.core.errors import DriverError
from ..module_utils.drift.bundle import Collector, bundle_path, write_bundle
from ..module_utils.drift.findings import Report
from ..module_utils.groups import model
from ..module_utils.groups.backends.instances import INSTANCE_LABEL
from ..module_utils.groups.definition_model import GroupDefinition
from .drift_check import Checker, checker_of, client_of
from .group_drift import GroupCheck
from .group_expectation import group_instances


@dataclass(frozen=True, slots=True)
class Evidence:
    """Writes a bundle for each instance of a group that it is shown: the engine's ``evidence``.

    It fails nothing: what a rotation does must not depend on whether a bundle can be written.

    :param say: told where the bundle is, or why there is none.
    """

    shop: Workshop
    catalog: Catalog
    definition: GroupDefinition
    say: Callable[[str], None] = lambda text: None
    clock: Callable[[], float] = field(default=time.time)

    def __call__(self, instance: model.Instance, reason: str) -> None:
        """Write the bundle of *instance*, which failed for *reason*."""
        try:
            path = self.keep(instance, reason)
        except (DriverError, OSError) as error:
            self.say(f"Of {instance.id}, which failed, nothing could be kept: {error}")
        else:
            self.say(f"What is known of {instance.id}, which failed: {path}")

    def keep(self, instance: model.Instance, reason: str) -> Path:
        """Write the bundle of *instance* and return its path.

        DriverError when no engine has the instance.
        """
        for host, one in group_instances(self.definition):
            if one.labels[INSTANCE_LABEL] == instance.id:
                parts = Collector(client_of(host)).parts(one, reason, self._drift(instance))
                now = self.clock()
                path = bundle_path(self.shop.home.root, self.definition.name, instance.id, now)
                write_bundle(path, parts, now)
                return path
        raise DriverError(f"No engine has it ({reason}).")

    def _drift(self, instance: model.Instance) -> Report | str:
        check = GroupCheck(self.shop, self.catalog, self.definition, self._checker)
        try:
            return check.reports([instance]).get(instance.id, "It went away meanwhile.")
        except DriverError as error:
            return str(error)

    def _checker(self, host: str) -> Checker:
        # Making the toolbox takes longer than an instance that failed may wait.
        return checker_of(self.shop, host, mirror=None, say=self.say, make=False)
