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
from ..module_utils.drift.instance import Instance, find_instances
from .drift_check import PLAIN, Asked, checker_of, client_of, expectation, version_of


@dataclass(frozen=True, slots=True)
class Evidence:
    """Writes a bundle for each instance that is asked for.

    :param asked: how instances of the group should be, for their drift.
    :param say: told what takes long.
    """

    shop: Workshop
    catalog: Catalog
    asked: Asked = PLAIN
    mirror: str | None = None
    say: Callable[[str], None] = lambda text: None
    clock: Callable[[], float] = field(default=time.time)

    def keep(
        self, group: str, name: str, why: str, *, host: str = "", image: str = "", version: str = ""
    ) -> Path:
        """Write the bundle of the instance *name* and return its path.

        :param host: address of its engine; empty is the client's own.
        :param image: name of the image, and *version* its number, where they are known.

        DriverError when the engine does not know the instance; nothing else keeps it from being
        written but a full disk.
        """
        (instance,) = find_instances([name], client=client_of(host))
        report = self._drift(instance, host, image, version)
        parts = Collector(client_of(host)).parts(instance, why, report)
        now = self.clock()
        path = bundle_path(self.shop.home.root, group, instance.name, now)
        write_bundle(path, parts, now)
        return path

    def _drift(self, instance: Instance, host: str, image: str, version: str) -> Report | str:
        try:
            expected = version_of(self.catalog, instance, image, version)
            checker = checker_of(self.shop, host, mirror=self.mirror, say=self.say)
            pair = (instance, expectation(self.shop, expected, self.asked))
            (report,) = checker.check([pair], self.asked.rules)
        except DriverError as error:
            return str(error)
        return report
