# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what the catalog knows; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.catalog.repository import Catalog
from ..module_utils.catalog.version import Version
from ..module_utils.core.errors import DriverError
from ..plugin_utils.catalog_action import CatalogAction

NEWEST = 10


class ActionModule(CatalogAction):
    """The action ``kiln.immutable.image_info``."""

    _VALID_ARGS = frozenset({"image", "version", "limit", "pull"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read the catalog."""
        catalog = self.catalog(task_vars)
        warnings = self.pulled(catalog, boolean(self._task.args.get("pull", True)))
        names = self.listed("image") or catalog.images()
        for name in self.listed("image"):
            self.known_image(catalog, name)
        wanted = self.text("version")
        limit = int(self._task.args.get("limit", NEWEST))
        groups = [group.as_document() for group in catalog.groups()]
        result = {
            "changed": False,
            "channels": list(catalog.settings().order),
            "images": [
                {
                    **_image(catalog, name, wanted, limit),
                    "groups": [group for group in groups if group["image"] == name],
                }
                for name in names
            ],
        }
        return {**result, "warnings": warnings} if warnings else result


def _image(catalog: Catalog, name: str, wanted: str | None, limit: int) -> dict[str, Any]:
    numbers = [str(number) for number in catalog.numbers(name)]
    channels = catalog.channels(name)
    if wanted is None:
        chosen = numbers[-limit:] if limit else numbers
    else:
        number = channels[wanted].version if wanted in channels else wanted
        if number not in numbers:
            raise DriverError(f"{wanted} is no version and no channel of {name}.")
        chosen = [number]
    found = (catalog.version(name, number) for number in reversed(chosen))
    return {
        "name": name,
        "newest": numbers[-1] if numbers else None,
        "count": len(numbers),
        "channels": {
            key: {**asdict(channel.moves[0]), "history": [asdict(m) for m in channel.moves]}
            for key, channel in channels.items()
        },
        "revoked": {key: asdict(one) for key, one in catalog.revoked(name).items()},
        "versions": [_version(catalog, one) for one in found if one is not None],
    }


def _version(catalog: Catalog, version: Version) -> dict[str, Any]:
    struck = catalog.revocation_of(version)
    at = [k for k, c in catalog.channels(version.image).items() if c.version == version.number]
    return {
        **version.as_document(),
        "channels": at,
        "revoked": None
        if struck is None
        else {"version": f"{struck[0].image} {struck[0].number}", "reason": struck[1].reason},
    }
