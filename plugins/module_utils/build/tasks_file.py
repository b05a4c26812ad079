# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks that play 2 includes for one image: its roles, each followed by its capture.

They are written as a file because only literal task variables are scoped to their role: a set
fact would be seen by every later layer. The values keep the text they have in the definition, so
vault values stay encrypted on disk.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoleRun:
    """A role to be run for one layer.

    :param role: what include_role takes: an FQCN, or the absolute path of a role.
    :param vars_sources: YAML texts of mappings; a later one wins.
    """

    layer: str
    role: str
    vars_sources: tuple[str, ...]


def render_tasks(runs: Sequence[RoleRun]) -> str:
    """Return the YAML text of the tasks for *runs*, in their order."""
    return "---\n" + "".join(_render(run) for run in runs)


def _render(run: RoleRun) -> str:
    return (
        f"- name: {json.dumps(f'Layer {run.layer}')}\n"
        "  tags: [always]\n"
        f"{_variables(run.vars_sources)}"
        "  block:\n"
        f"    - name: {json.dumps(f'Run the role {run.role}')}\n"
        "      ansible.builtin.include_role:\n"
        f"        name: {json.dumps(run.role)}\n"
        "    - name: Run the handlers, so that what they change is in the layer\n"
        "      ansible.builtin.meta: flush_handlers\n"
        f"    - name: {json.dumps(f'Capture the layer {run.layer}')}\n"
        "      kiln.immutable.layer_capture:\n"
        f"        layer: {json.dumps(run.layer)}\n"
    )


def _variables(sources: Sequence[str]) -> str:
    """Merge mappings as YAML does, by a merge key over aliases: the last source comes first."""
    given = [source for source in sources if source.strip() not in ("", "{}")]
    if not given:
        return ""
    if len(given) == 1:
        return "  vars:\n" + _indent(given[0], 4)
    own = "  vars:\n    <<:\n"
    for source in reversed(given):
        own += "      -\n" + _indent(source, 8)
    return own


def _indent(text: str, width: int) -> str:
    margin = " " * width
    return (
        "".join(
            margin + line if line.strip() else line for line in text.splitlines(keepends=True)
        ).rstrip("\n")
        + "\n"
    )
