# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the lock of one image; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..module_utils.build.definition import load
from ..module_utils.build.workshop import lock_image
from ..module_utils.catalog.repository import Catalog
from ..plugin_utils.bake_action import BakeAction
from ..plugin_utils.pool_room import shrink_pool


class ActionModule(BakeAction):
    """The action ``kiln.immutable.lock_write``."""

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write the lock of this host's image, from what its layers installed."""
        shop = self.shop(task_vars)
        session = self.session(shop, task_vars)
        image = str(task_vars["inventory_hostname"])
        summary = lock_image(shop, session, image)
        definition = load(session.read(image)["definition"])
        shrink_pool(shop, Catalog(shop.home.catalog), definition)
        return {"changed": summary["written"], **summary}
