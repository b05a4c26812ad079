# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a version from a registry; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..plugin_utils.registry_action import RegistryAction


class ActionModule(RegistryAction):
    """The action ``kiln.immutable.image_pull``."""

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Pull the version into the store of the home."""
        from ..module_utils.oci.registry.pull import pull

        looks = bool(self._task.check_mode)
        moved, layout = self.transfer(task_vars), self.shop(task_vars).layout
        if not looks:
            layout.ensure()
        # By the digest that the catalog says: whoever may move tags cannot change a version.
        pulled = pull(moved.registry, layout, moved.version.index, moved.name, looks=looks)
        result = {
            **moved.as_result(),
            "changed": pulled.changed,
            "bytes": pulled.bytes,
            "skipped": sum(blob.size for blob in pulled.skipped),
            "blobs": [{"digest": blob.digest, "size": blob.size} for blob in pulled.fetched],
            "manifests": list(pulled.documents),
            "tags": list(pulled.tags),
        }
        if self._task.diff:
            lines = [f"blob {blob.digest} ({blob.size} bytes)\n" for blob in pulled.fetched]
            lines += [f"manifest {digest}\n" for digest in pulled.documents]
            lines += [f"tag {tag}\n" for tag in pulled.tags]
            result["diff"] = {"prepared": "".join(lines)}
        return result
