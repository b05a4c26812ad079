# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove what nothing needs; see the module of the same name."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..module_utils.build.engine_leftovers import chain_leftovers
from ..module_utils.build.garbage import collect, plan_collection
from ..module_utils.build.session import reap_sessions
from ..module_utils.build.store_lock import store_alone, store_in_use
from ..module_utils.build.toolbox import spare_toolboxes
from ..module_utils.build.workshop import Workshop
from ..module_utils.core.errors import DriverError
from ..plugin_utils.store_action import WAIT, StoreAction

DAYS = 30.0


class ActionModule(StoreAction):
    """The action ``kiln.immutable.store_gc``."""

    _VALID_ARGS = frozenset({"cache_days", "wait"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Say what can go; outside of check mode, remove it."""
        shop = self.shop(task_vars)
        days, wait = self.number("cache_days", DAYS), self.number("wait", WAIT)
        looks = bool(self._task.check_mode)
        with store_in_use(shop.home) if looks else store_alone(shop.home, timeout=wait):
            if not looks and shop.layout.root.is_dir():
                shop.layout.ensure()
                shop.layout.sweep_partials()
            versions = self.versions(task_vars)
            removals = plan_collection(shop.cache, versions, now=time.time(), days=days)
            if not looks:
                collect(removals)
        result: dict[str, Any] = {
            "removed": [removal.as_json() for removal in removals],
            "bytes": sum(removal.size for removal in removals),
            "images": [],
        }
        try:
            result["images"] = _engine(shop, days, looks=looks)
        except DriverError as error:
            # The store is clean, and what the engine holds harms nobody until it answers.
            result["warnings"] = [f"The engine was not cleaned: {error}"]
        if self._task.diff:
            lines = [f"{r.kind} {r.label} ({r.size} bytes)\n" for r in removals]
            result["diff"] = {
                "prepared": "".join([*lines, *(f"image {n}\n" for n in result["images"])])
            }
        return {"changed": bool(removals or result["images"]), **result}


def _engine(shop: Workshop, days: float, *, looks: bool) -> list[str]:
    """Remove images that build containers were started from, and toolboxes; return their names."""
    if not looks:
        reap_sessions(shop.home, shop.engine)
    now = time.time()
    names = chain_leftovers(shop.engine, now=now)
    names += spare_toolboxes(shop.engine, shop.home, now=now, days=days)
    removed = []
    for name in names:
        if not looks:
            try:
                shop.engine.remove_image(name)
            except DriverError:
                # A container was started from it just now.
                continue
        removed.append(name)
    return removed
