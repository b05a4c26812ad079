# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let a channel point to a version; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..module_utils.catalog.changes import Promotion, promote
from ..plugin_utils.catalog_action import CatalogAction


class ActionModule(CatalogAction):
    """The action ``kiln.immutable.image_promote``."""

    _VALID_ARGS = frozenset({"image", "version", "channel", "expected", "reason"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Promote, and let the tags in the engine follow."""
        shop, catalog = self.shop(task_vars), self.catalog(task_vars)
        wanted = Promotion(
            image=self.required("image"),
            reason=self.required("reason"),
            version=self.text("version"),
            channel=self.text("channel"),
            expected=self.text("expected"),
        )
        judge, look = self.judge(task_vars), bool(self._task.check_mode)
        plan = promote(catalog, wanted, judge=judge, look=look)
        tags = self.follow_tags(
            shop, catalog, plan.image, task_vars, planned={plan.channel: plan.version}
        )
        result: dict[str, Any] = {
            "changed": plan.changes or bool(tags["engine"] or tags["registry"]),
            "image": plan.image,
            "version": plan.version,
            "channel": plan.channel,
            "previous": plan.before,
            "moved": plan.changes,
            "steps_back": plan.is_step_back,
            **tags,
        }
        if self._task.diff:
            name = f"{plan.image} {plan.channel}"
            result["diff"] = {
                "before_header": name,
                "after_header": name,
                "before": f"{plan.before or 'nothing'}\n",
                "after": f"{plan.version}\n",
            }
        return result
