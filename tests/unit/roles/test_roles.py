# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every role, whatever it does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted((Path(__file__).resolve().parents[3] / "roles").iterdir())
GUARD = "kiln.immutable.build_guard"
OTHERS = [role for role in ROLES if role.name != "build_guard"]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def names(roles: list[Path]) -> list[str]:
    return [role.name for role in roles]


def guarded(tasks: Path) -> Iterator[bool]:
    for task in load(tasks):
        condition = task.get("when", ())
        conditions = [condition] if isinstance(condition, str) else list(condition)
        yield bool(conditions) and conditions[0] == "build_guard_passed"


@pytest.mark.parametrize("role", OTHERS, ids=names(OTHERS))
def test_every_role_depends_on_the_guard(role: Path) -> None:
    dependencies = load(role / "meta" / "main.yml")["dependencies"]
    assert GUARD in [dependency["role"] for dependency in dependencies]


@pytest.mark.parametrize("role", OTHERS, ids=names(OTHERS))
def test_every_task_stands_below_the_verdict(role: Path) -> None:
    files = [path for part in ("tasks", "handlers") for path in (role / part).glob("*.yml")]
    assert files
    assert all(each for path in files for each in guarded(path))


def test_the_guard_cannot_be_left_out_by_tags() -> None:
    (guard,) = [role for role in ROLES if role.name == "build_guard"]
    tasks = load(guard / "tasks" / "main.yml")
    assert tasks
    assert all(task["tags"] == ["always"] for task in tasks)


@pytest.mark.parametrize("role", ROLES, ids=names(ROLES))
def test_variables_carry_the_role_s_name(role: Path) -> None:
    files = [role / "defaults" / "main.yml", role / "vars" / "main.yml"]
    variables = [name for path in files if path.is_file() for name in load(path)]
    assert [name for name in variables if not name.startswith(f"{role.name}_")] == []


@pytest.mark.parametrize("role", ROLES, ids=names(ROLES))
def test_the_specification_names_each_default_with_its_value(role: Path) -> None:
    path = role / "defaults" / "main.yml"
    defaults: dict[str, Any] = load(path) if path.is_file() else {}
    options = load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    assert set(options) == set(defaults)
    for name, option in options.items():
        if "default" in option:
            assert option["default"] == defaults[name], name


@pytest.mark.parametrize("role", ROLES, ids=names(ROLES))
def test_the_readme_names_each_variable(role: Path) -> None:
    path = role / "defaults" / "main.yml"
    defaults = load(path) if path.is_file() else {}
    readme = (role / "README.md").read_text()
    assert [name for name in defaults if f"`{name}`" not in readme] == []
