# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controls of every role: each is proved by a check that is there."""

from __future__ import annotations

import ast
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.report.controls import load_controls
from ansible_collections.kiln.immutable.plugins.module_utils.report.controls_model import Control

ROOT = Path(__file__).resolve().parents[3]
CHECKS = ROOT / "tests" / "testinfra" / "controls"
CONTROLS = load_controls(ROOT / "roles")
PROVED: list[Control] = [control for control in CONTROLS if not control.waiver]
FILES = sorted(CHECKS.glob("test_*.py"))
GIVEN = {"host", "kind", "release", "suite"}


def functions(file: Path) -> dict[str, ast.FunctionDef]:
    """Return the checks in *file*, by their names."""
    tree = ast.parse(file.read_text("utf-8"), str(file))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {node.name: node for node in found if node.name.startswith("test_")}


def file_of(role: str) -> Path:
    return CHECKS / f"test_{role}.py"


def test_a_control_has_a_check_that_is_there() -> None:
    known = {role: functions(file_of(role)) for role in {control.role for control in PROVED}}
    wrong = [
        f"{one.at}: {file_of(one.role).name} has no {one.check or 'check'}"
        for one in PROVED
        if one.check not in known[one.role]
    ]
    assert wrong == []


def test_a_reference_is_of_a_release_that_the_control_holds_for() -> None:
    assert [one.at for one in CONTROLS if not set(one.cis) <= set(one.releases)] == []


def test_a_check_proves_a_control() -> None:
    proved = {(file_of(control.role).name, control.check) for control in PROVED}
    written = {(file.name, name) for file in FILES for name in functions(file)}
    assert written - proved == set()


def test_a_check_takes_what_its_root_is_alone() -> None:
    """Whoever proves it calls it directly, so that it takes no fixtures and no parameters."""
    wrong = [
        f"{file.name}:{node.lineno}"
        for file in FILES
        for node in functions(file).values()
        if not {argument.arg for argument in node.args.args} <= GIVEN or node.decorator_list
    ]
    assert wrong == []
