# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open the build container of one image; see the module of the same name."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError

from ..module_utils.build.lost_blob import mending
from ..module_utils.build.workshop import open_image
from ..plugin_utils.bake_action import BakeAction


class ActionModule(BakeAction):
    """The action ``kiln.immutable.bake_open``."""

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Open the image of this host."""
        shop = self.shop(task_vars)
        image = str(task_vars["inventory_hostname"])
        with mending(shop.cache):
            opened = open_image(
                shop,
                self.session(shop, task_vars),
                image,
                say=lambda text: self.say(f"{image}: {text}"),
                started=self._connect,
            )
        facts = opened.pop("facts")
        return {"changed": bool(opened["pending"]), "ansible_facts": facts, **opened}

    def _connect(self) -> None:
        """Have Mitogen start its interpreter in the container, which the first task would wait for.

        Its own process keeps it for all tasks of the host. Where that fails, the task says why.
        """
        bases = type(self._connection).__mro__
        if not any(base.__module__ == "ansible_mitogen.connection" for base in bases):
            return
        with contextlib.suppress(AnsibleError):
            self._connection._connect()
