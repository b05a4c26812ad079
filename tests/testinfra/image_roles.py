# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which roles of ours have run on the root of an image, by its definition."""

from __future__ import annotations

from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import Definition

# The parts of the role hardening, and the kinds of image in which each is on by default.
PARTS = {
    "hardening_kernel": {"vm"},
    "hardening_accounts": {"container", "vm"},
    "hardening_ssh": {"vm"},
    "hardening_filesystem": {"container", "vm"},
    "hardening_packages": {"container", "vm"},
}


def roles_in(definition: Definition) -> set[str]:
    """Return the names of the roles in its layers, parts that are on and the seal among them."""
    found = {"seal"}
    for layer in definition.layers:
        name = layer.role.rpartition(".")[2]
        found.add(name)
        if name == "hardening":
            values = {**definition.vars_values, **layer.vars_values}
            found |= {
                part for part, kinds in PARTS.items() if values.get(part, definition.kind in kinds)
            }
    return found
