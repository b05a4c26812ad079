# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a version from a registry; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.build.build_container import load_image
from ..module_utils.build.engine import Engine, EngineFacts
from ..module_utils.build.sealing import reference
from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.version import Version
from ..module_utils.core.errors import DriverError
from ..plugin_utils.registry_action import RegistryAction, Transfer
from ..plugin_utils.wanted_version import stored_image


class ActionModule(RegistryAction):
    """The action ``kiln.immutable.image_pull``."""

    _VALID_ARGS = RegistryAction._VALID_ARGS | {"load"}

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Pull the version into the store of the home, and load it into the engine."""
        from ..module_utils.oci.registry.pull import pull

        looks = bool(self._task.check_mode)
        shop = self.shop(task_vars)
        moved, layout = self.transfer(task_vars), shop.layout
        loads = boolean(self._task.args.get("load", True))
        # Before gigabytes are fetched for an engine that does not answer.
        facts = _asked(shop.engine) if loads else None
        if not looks:
            layout.ensure()
        # By the digest that the catalog says: whoever may move tags cannot change a version.
        pulled = pull(moved.registry, layout, moved.version.index, moved.name, looks=looks)
        said = [] if facts is None else self._load(shop, moved, facts, looks=looks)
        result = {
            **moved.as_result(),
            "changed": pulled.changed or bool(said),
            "bytes": pulled.bytes,
            "skipped": sum(blob.size for blob in pulled.skipped),
            "blobs": [{"digest": blob.digest, "size": blob.size} for blob in pulled.fetched],
            "manifests": list(pulled.documents),
            "tags": list(pulled.tags),
            "engine": said,
        }
        if self._task.diff:
            lines = [f"blob {blob.digest} ({blob.size} bytes)\n" for blob in pulled.fetched]
            lines += [f"manifest {digest}\n" for digest in pulled.documents]
            lines += [f"tag {tag}\n" for tag in pulled.tags]
            lines += [f"{sentence}\n" for sentence in said]
            result["diff"] = {"prepared": "".join(lines)}
        return result

    def _load(
        self, shop: Workshop, moved: Transfer, facts: EngineFacts, *, looks: bool
    ) -> list[str]:
        """Load the version where the engine has it not, and let the channels' names follow."""
        version = moved.version
        name, said = reference(version.image, version.number), []
        if not _is_loaded(shop, version, name, facts):
            said.append(f"{name} is loaded")
            if not looks:
                image = stored_image(shop, version)
                load_image(shop.layout, shop.engine, image, [name], whole=facts.containerd_store)
        channels = {
            channel: moved.catalog.version(version.image, one.version)
            for channel, one in moved.catalog.channels(version.image).items()
        }
        return [*said, *self.follow_engine(shop, version.image, channels, coming=version)]


def _asked(engine: Engine) -> EngineFacts:
    try:
        return engine.facts()
    except DriverError as error:
        raise DriverError(
            error.message,
            hint=f"{error.hint} With load: false (kiln_load) it is only put into the store.",
        ) from error


def _is_loaded(shop: Workshop, version: Version, name: str, facts: EngineFacts) -> bool:
    """Whether *name* is the version in the engine, whose identifiers are of two kinds."""
    held = shop.engine.image(name)
    if held is None or held.id == version.config:
        return held is not None
    if not facts.containerd_store or not shop.layout.has(version.index):
        return False
    return held.diff_ids == tuple(layer.diff_id for layer in stored_image(shop, version).layers)
