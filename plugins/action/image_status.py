# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say how far behind what is in use is; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.catalog.staleness import rows
from ..module_utils.catalog.version import Version
from ..module_utils.report.catalog_tables import render_status
from ..plugin_utils.catalog_action import CatalogAction
from ..plugin_utils.pending_updates import PendingUpdates

HOURS = 1.0


class ActionModule(CatalogAction):
    """The action ``kiln.immutable.image_status``."""

    _VALID_ARGS = frozenset({"image", "security", "security_hours", "keyring", "pull", "show"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read the catalog, the versions in use and the security archives that they name."""
        shop, catalog = self.shop(task_vars), self.catalog(task_vars)
        warnings = self.pulled(catalog, boolean(self._task.args.get("pull", True)))
        names = self.listed("image") or catalog.images()
        for name in names:
            self.known_image(catalog, name)
        keyring = self.text("keyring")
        pending = PendingUpdates(
            shop,
            catalog.now(),
            hours=self.number("security_hours", HOURS),
            keyring=Path(keyring).expanduser() if keyring else None,
        )
        asks = boolean(self._task.args.get("security", True))
        judge, settings = self.judge(task_vars), catalog.settings()

        def updates(version: Version) -> tuple[Sequence[str] | None, str]:
            return pending.of(version) if asks else (None, "not asked for")

        def failures(version: Version, channel: str) -> Sequence[str]:
            return judge(version, channel, settings.policy(channel))

        found = [row.as_json() for row in rows(catalog, names, updates=updates, failures=failures)]
        result: dict[str, Any] = {
            "changed": False,
            "rows": found,
            "rebuild": sorted({row["image"] for row in found if row["needs_rebuild"]}),
            "table": render_status(found),
        }
        self.show(result["table"])
        return {**result, "warnings": warnings} if warnings else result
