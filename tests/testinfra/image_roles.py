# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which roles of this collection ran in an image, by its definition."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    Definition,
)
from ansible_collections.kiln.immutable.plugins.module_utils.report.included_roles import (
    included_roles,
)

ROLES = Path(__file__).resolve().parents[2] / "roles"


def roles_in(definition: Definition) -> set[str]:
    """Return the names of the roles in the layers of *definition*, with the parts that they run."""
    found = {"seal"}
    for layer in definition.layers:
        name = layer.role.rpartition(".")[2]
        values = {**definition.vars_values, **layer.vars_values}
        parts = included_roles(ROLES / name, definition.kind, values)
        found |= {name, *(part.rpartition(".")[2] for part in parts)}
    return found
