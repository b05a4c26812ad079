# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory plugin: one host for each image definition."""

from __future__ import annotations

DOCUMENTATION = r"""
name: images
short_description: Image definitions as hosts
version_added: "0.1.0"
author:
  - kiln.immutable contributors (@kiln)
description:
  - Gives a host for each image definition, named as the image, in the group C(kiln_images).
  - So C(--limit), C(host_vars) and C(group_vars) work for images as they do for machines.
  - The host has one variable, C(kiln_definition), the absolute path of the definition.
  - Reads files whose name ends with C(kiln.images.yml) or C(kiln.images.yaml).
options:
  plugin:
    description: Marks the file as one for this plugin.
    type: str
    required: true
    choices:
      - kiln.immutable.images
  paths:
    description:
      - Image definitions, and folders of them.
      - Relative paths start from the directory of this file.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
# kiln.images.yml
plugin: kiln.immutable.images
paths:
  - images/
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin

from ..module_utils.build.definition import load_all
from ..module_utils.core.errors import DriverError

GROUP = "kiln_images"


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]  # ansible-core carries no type hints here
    """Adds a host for each image definition to the inventory."""

    NAME = "kiln.immutable.images"

    def verify_file(self, path: str) -> bool:
        """Return whether *path* is named as this plugin's files are."""
        return super().verify_file(path) and path.endswith(("kiln.images.yml", "kiln.images.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Read the definitions that the file at *path* names into *inventory*."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        folder = Path(path).absolute().parent
        try:
            definitions = load_all([folder / one for one in self.get_option("paths")])
        except DriverError as error:
            raise AnsibleParserError(str(error)) from error
        self.inventory.add_group(GROUP)
        for definition in definitions:
            self.inventory.add_host(definition.name, group=GROUP)
            self.inventory.set_variable(definition.name, "kiln_definition", str(definition.path))
