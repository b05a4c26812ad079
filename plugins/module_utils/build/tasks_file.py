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
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_LINE_START = re.compile("(?:^|[\n\x85\u2028\u2029])(?=[^\n\x85\u2028\u2029])")
"""Where a line that is not empty begins, as YAML 1.1 breaks lines."""


@dataclass(frozen=True, slots=True)
class RoleRun:
    """A role to be run for one layer.

    :param role: what include_role takes: an FQCN, or the absolute path of a role.
    :param vars_sources: YAML texts of mappings; a later one wins.
    :param always: run all of it, also when --tags selects some tasks of the roles.
    """

    layer: str
    role: str
    vars_sources: tuple[str, ...]
    always: bool = False


def render_tasks(runs: Sequence[RoleRun], facts: Mapping[str, object] | None = None) -> str:
    """Return the YAML text of the tasks for *runs*, in their order.

    :param facts: what roles of restored layers set; given back first, as text and not as templates.
    """
    given = "" if not facts or not runs else _give_back(facts)
    return "---\n" + given + "".join(_render(run) for run in runs)


def _give_back(facts: Mapping[str, object]) -> str:
    return (
        "- name: Give back the facts of restored layers\n"
        "  tags: [always]\n"
        "  ansible.builtin.set_fact:\n"
        + "".join(f"    {name}: !unsafe {_text(facts[name])}\n" for name in sorted(facts))
    )


_APPLIED = """\
        apply:
          tags: [always]
"""


def _render(run: RoleRun) -> str:
    # A tag of the block would be one of all tasks in the role: included tasks inherit it.
    return (
        f"- name: {_text(f'Layer {run.layer}')}\n"
        f"{_variables(run.vars_sources)}"
        "  block:\n"
        f"    - name: {_text(f'Run the role {run.role}')}\n"
        "      ansible.builtin.include_role:\n"
        f"        name: {_text(run.role)}\n"
        f"{_APPLIED if run.always else ''}"
        "      tags: [always]\n"
        "    - name: Run the handlers, so that what they change is in the layer\n"
        "      ansible.builtin.meta: flush_handlers\n"
        "      tags: [always]\n"
        f"    - name: {_text(f'Capture the layer {run.layer}')}\n"
        "      kiln.immutable.layer_capture:\n"
        f"        layer: {_text(run.layer)}\n"
        "      tags: [always]\n"
    )


def _text(value: object) -> str:
    """A value as YAML: JSON, but without its pairs of escapes, which YAML does not join."""
    return json.dumps(value, ensure_ascii=False)


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
    """Move a YAML text to the right. Lines of blanks move too, as they may be part of a value."""
    return _LINE_START.sub(lambda found: found[0] + " " * width, text.removesuffix("\n")) + "\n"
