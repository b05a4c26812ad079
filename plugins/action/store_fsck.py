# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify the store and the cache, and mend them; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..module_utils.build.fsck import Findings, look, repair
from ..module_utils.build.store_lock import store_alone, store_in_use
from ..module_utils.catalog.check import check_catalog
from ..module_utils.core.errors import DriverError
from ..plugin_utils.bake_action import display
from ..plugin_utils.store_action import WAIT, StoreAction


class ActionModule(StoreAction):
    """The action ``kiln.immutable.store_fsck``."""

    _VALID_ARGS = frozenset({"wait"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look; outside of check mode, mend what was found."""
        shop = self.shop(task_vars)
        wait = self.number("wait", WAIT)
        catalog = check_catalog(self.catalog(task_vars))
        for sentence in catalog:
            display.display(f"  catalog: {sentence}")
        if any("cannot be read" in sentence or "damaged" in sentence for sentence in catalog):
            raise DriverError(
                "The catalog has records that cannot be read, so nobody knows what the store needs:"
                f" {' '.join(catalog)}",
                hint="git log shows who changed them, git checkout brings them back.",
                details={"catalog": catalog},
            )
        with store_in_use(shop.home):
            findings = look(shop.cache, self.versions(task_vars))
        for problem in findings.problems:
            display.display(f"  {problem.sentence}")
        mends = bool(findings.damaged or findings.records or findings.tags)
        if mends and not self._task.check_mode:
            with store_alone(shop.home, timeout=wait):
                # Bakes went on between: once more, but reading only the blobs found damaged.
                again = look(shop.cache, self.versions(task_vars), suspects=findings.damaged)
                repair(shop.cache, again)
                findings = _joined(findings, again)
        return {
            "changed": mends,
            "catalog": catalog,
            "problems": [problem.as_json() for problem in findings.problems],
            "quarantined": list(findings.damaged),
            "records": [str(path) for path in findings.records],
            "tags": list(findings.tags),
            "incomplete": list(findings.incomplete),
            "blobs": findings.blobs,
            "bytes": findings.bytes,
            "quarantine": str(shop.layout.quarantine),
        }


def _joined(before: Findings, after: Findings) -> Findings:
    """What to tell: the sizes of the whole look, and what was there still when it was mended."""
    return Findings(
        problems=after.problems,
        damaged=after.damaged,
        records=after.records,
        tags=after.tags,
        incomplete=after.incomplete,
        blobs=before.blobs,
        bytes=before.bytes,
    )
