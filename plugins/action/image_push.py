# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a version to a registry; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..module_utils.core.errors import DriverError
from ..module_utils.oci.layout import Layout
from ..plugin_utils.registry_action import RegistryAction, Transfer


class ActionModule(RegistryAction):
    """The action ``kiln.immutable.image_push``."""

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Push the version, and let the tags of its channels follow."""
        from ..module_utils.oci.registry.push import push
        from ..module_utils.oci.registry.tags import TagMove, follow

        looks = bool(self._task.check_mode)
        moved, layout = self.transfer(task_vars), self.shop(task_vars).layout
        version, registry = moved.version, moved.registry
        if not layout.root.is_dir() or not layout.has(version.index):
            raise DriverError(
                f"The store of this home has not {version.image} {version.number}.",
                hint="Bake it here, or take it from a registry that has it: image_pull.",
            )
        pushed = push(
            registry,
            layout,
            version.index,
            version.number,
            sources=_sources(moved, layout),
            looks=looks,
        )
        wanted = {
            name: version.index
            for name, channel in moved.catalog.channels(version.image).items()
            if channel.version == version.number
        }
        moves: list[TagMove] = follow(registry, wanted, looks=looks)
        result = {
            **moved.as_result(),
            "changed": pushed.changed or bool(moves),
            "bytes": pushed.bytes("sent"),
            "wire": pushed.wire,
            "mounted": pushed.bytes("mounted"),
            "skipped": pushed.bytes("skipped"),
            "blobs": [
                {"digest": one.blob.digest, "size": one.blob.size, "how": one.how}
                for one in pushed.blobs
            ],
            "manifests": list(pushed.documents),
            "tags": [*pushed.tags, *(move.tag for move in moves)],
        }
        if self._task.diff:
            lines = [
                f"blob {one.blob.digest} {one.how} ({one.blob.size} bytes)\n"
                for one in pushed.blobs
                if one.how != "skipped"
            ]
            lines += [f"manifest {digest}\n" for digest in pushed.documents]
            lines += [f"tag {registry.repository}:{tag}\n" for tag in result["tags"]]
            result["diff"] = {"prepared": "".join(lines)}
        return result


def _sources(moved: Transfer, layout: Layout) -> dict[str, str]:
    """Return which repository beside this one may have a blob: those of the newest versions of the
    other images, and first of all the parent's."""
    from ..module_utils.oci.registry.family import family, stored

    found: dict[str, str] = {}
    image, parent = moved.version.image, moved.version.parent
    others = [name for name in moved.catalog.images() if name not in {image, parent}]
    repository = moved.registry.repository.name
    for name in (*([parent] if parent else []), *others):
        numbers = moved.catalog.numbers(name)
        version = moved.catalog.version(name, str(numbers[-1])) if numbers else None
        if version is None or not layout.has(version.index):
            continue
        try:
            blobs = family(stored(layout, version.index), layout.read).blobs
        except DriverError:
            continue  # It is not what is pushed: fsck will find it.
        for digest in blobs:
            found.setdefault(digest, repository.removesuffix(image) + name)
    return found
