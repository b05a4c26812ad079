# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capture what a role changed as a layer; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..module_utils.build.workshop import capture_layer
from ..plugin_utils.bake_action import BakeAction


class ActionModule(BakeAction):
    """The action ``kiln.immutable.layer_capture``."""

    _VALID_ARGS = frozenset({"layer"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Capture the named layer of this host's image."""
        shop = self.shop(task_vars)
        record = capture_layer(
            shop,
            self.session(shop, task_vars),
            str(task_vars["inventory_hostname"]),
            str(self._task.args["layer"]),
            task_vars,
        )
        layer = record.layer
        return {
            "changed": layer is not None,
            "key": record.key,
            "seconds": record.seconds,
            "diff_id": None if layer is None else layer.diff_id,
            "size": 0 if layer is None else layer.size,
        }
