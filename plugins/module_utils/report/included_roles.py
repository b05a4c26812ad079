# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles that a role runs as its parts, so that their controls count for its layer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# A controller always has PyYAML; a target that unpacks this file along with others may not.
with contextlib.suppress(ImportError):
    import yaml

_INCLUDES = ("ansible.builtin.include_role", "ansible.builtin.import_role")


def included_roles(role: Path, kind: str, values: Mapping[str, object]) -> tuple[str, ...]:
    """Return the names of the roles that the role in the folder *role* runs, in their order.

    A part has a switch: a variable of the role that is called as the part is. A switch whose
    default is an expression is on in a VM.

    :param kind: of the image: ``container`` or ``vm``.
    :param values: the variables that the image's definition gives the layer.
    """
    tasks = role / "tasks" / "main.yml"
    if not tasks.is_file() or "_role:" not in tasks.read_text("utf-8"):
        return ()
    given = {**_defaults(role), **values}
    found = []
    for name in _names(_load(tasks)):
        switch = given.get(name.rpartition(".")[2], True)
        if switch is True or (switch is not False and kind == "vm"):
            found.append(name)
    return tuple(found)


def _defaults(role: Path) -> dict[str, object]:
    path = role / "defaults" / "main.yml"
    found = _load(path) if path.is_file() else None
    return found if isinstance(found, dict) else {}


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def _names(tasks: object) -> Iterator[str]:
    for task in tasks if isinstance(tasks, list) else ():
        if not isinstance(task, dict):
            continue
        for part in ("block", "rescue", "always"):
            yield from _names(task.get(part))
        for module in _INCLUDES:
            if isinstance(asked := task.get(module), dict) and "{{" not in str(asked.get("name")):
                yield str(asked["name"])
