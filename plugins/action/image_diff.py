# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare two versions of an image; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..module_utils.catalog.difference import Shown, compare, render_difference
from ..module_utils.catalog.repository import Catalog
from ..module_utils.catalog.version import Version
from ..module_utils.core.errors import DriverError
from ..plugin_utils.catalog_action import CatalogAction
from ..plugin_utils.version_contents import read_contents, with_headlines

FILES = 40


class ActionModule(CatalogAction):
    """The action ``kiln.immutable.image_diff``."""

    _VALID_ARGS = frozenset({"image", "before", "after", "files", "show"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Read both versions and say in what they differ."""
        shop, catalog = self.shop(task_vars), self.catalog(task_vars)
        image = self.known_image(catalog, self.required("image"))
        after = _named(catalog, image, self.text("after"), None)
        before = _named(catalog, image, self.text("before"), after)
        old, _old_tree = read_contents(shop, before)
        new, tree = read_contents(shop, after)
        found = with_headlines(shop, compare(old, new), before, after, tree)
        title = f"{image} {before.number} -> {after.number}"
        lines = render_difference(title, found, Shown(files=int(self.number("files", FILES))))
        self.show(lines)
        result: dict[str, Any] = {
            "changed": False,
            "before": before.number,
            "after": after.number,
            "same": before.index == after.index,
            "table": lines,
            **found.as_json(),
        }
        if self._task.diff:
            result["diff"] = {"prepared": "".join(f"{line}\n" for line in lines)}
        return result


def _named(catalog: Catalog, image: str, name: str | None, after: Version | None) -> Version:
    """Return a version by number or channel; by default the newest, and the one before it."""
    numbers = [str(number) for number in catalog.numbers(image)]
    if name is None:
        place = numbers.index(after.number) - 1 if after is not None else len(numbers) - 1
        if place < 0:
            raise DriverError(f"There is no version of {image} before {numbers[0]}.")
        name = numbers[place]
    channels = catalog.channels(image)
    number = channels[name].version if name in channels else name
    version = catalog.version(image, number) if number in numbers else None
    if version is None:
        raise DriverError(f"{name} is no version and no channel of {image}.")
    return version
