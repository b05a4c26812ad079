# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controls of an image: those of the roles in its layers, wherever Ansible finds these."""

from __future__ import annotations

from pathlib import Path

from ..module_utils.build.definition_model import Definition
from ..module_utils.report.controls import CONTROLS_FILE, load_role_controls
from ..module_utils.report.controls_model import Control
from ..module_utils.report.included_roles import included_roles
from ..module_utils.report.waived import check_waivers
from .bake_inputs import RoleFinder, layer_specs


def image_controls(definition: Definition, playbook_folder: Path) -> tuple[Control, ...]:
    """Return the controls of the roles in the layers of *definition*, in their order.

    The parts of a role that runs others, as ``hardening`` does, count as roles of the layer.
    """
    find = RoleFinder(playbook_folder)
    folders: list[Path] = []
    for spec in layer_specs(definition):
        folder = Path(spec.role_path or find(spec.role, None))
        values = {**definition.vars_values, **spec.vars_values}
        parts = included_roles(folder, definition.kind, values)
        folders += [folder, *(Path(find(part, None)) for part in parts)]
    return tuple(
        control
        for folder in dict.fromkeys(folders)
        if (folder / CONTROLS_FILE).is_file()
        for control in load_role_controls(folder)
    )


def refuse_unknown_waivers(definition: Definition, playbook_folder: Path) -> None:
    """Raise DriverError when *definition* waives a control that its roles do not have.

    Without such waivers no file is read: a plan with nothing to do stays quick.
    """
    if any(waiver.control for waiver in definition.waivers):
        check_waivers(definition, image_controls(definition, playbook_folder))
