# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controls of an image: those of the roles in its layers, wherever Ansible finds these."""

from __future__ import annotations

import re
from pathlib import Path

from ..module_utils.build.definition_model import Definition
from ..module_utils.report.controls import CONTROLS_FILE, load_role_controls
from ..module_utils.report.controls_model import Control
from ..module_utils.report.waived import check_waivers
from .bake_inputs import RoleFinder, layer_specs

_INCLUDED = re.compile(r"(?:include|import)_role:\s+name: *([\w.]+)\s")


def image_controls(definition: Definition, playbook_folder: Path) -> tuple[Control, ...]:
    """Return the controls of the roles in the layers of *definition*, included ones too."""
    find = RoleFinder(playbook_folder)
    found: dict[Path, None] = {}
    for spec in layer_specs(definition):
        _follow(spec.role_path or find(spec.role, None), find, found)
    return tuple(
        control
        for folder in found
        if (folder / CONTROLS_FILE).is_file()
        for control in load_role_controls(folder)
    )


def _follow(folder: Path, find: RoleFinder, found: dict[Path, None]) -> None:
    """Add *folder* to *found*, and the roles that its tasks include by name."""
    if folder in found:
        return
    found[folder] = None
    for tasks in sorted(folder.glob("tasks/*.yml")):
        for name in _INCLUDED.findall(tasks.read_text("utf-8")):
            _follow(find(name, folder), find, found)


def refuse_unknown_waivers(definition: Definition, playbook_folder: Path) -> None:
    """Raise DriverError when *definition* waives a control that its roles do not have.

    Without such waivers no file is read: a plan with nothing to do stays quick.
    """
    if any(waiver.control for waiver in definition.waivers):
        check_waivers(definition, image_controls(definition, playbook_folder))
