# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Molecule scenarios verify with tests that are there, and together run every role."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.report.included_roles import (
    included_roles,
)

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted((ROOT / "molecule").glob("*/molecule.yml"))
ROLES = {role.name for role in (ROOT / "roles").iterdir()}
PREFIX = "kiln.immutable."
# What proves that a role works in check mode and that a second run changes nothing.
PROOF = {"check", "converge", "idempotence"}
# It takes away what a second run would stand on; the tests named here keep that.
PROVED_ELSEWHERE = {
    "seal": {
        "test_check_mode_says_what_would_go_and_takes_nothing",
        "test_a_kept_python_still_runs_and_a_second_seal_changes_nothing",
    }
}

# Roles that no scenario runs yet. Whoever puts one into a scenario takes it out of here.
IN_NO_SCENARIO = {"ab_update", "boot", "cloud_init", "kernel"}


def read(scenario: Path) -> dict[str, Any]:
    """Return the content of a scenario's file."""
    content: dict[str, Any] = yaml.safe_load(scenario.read_text("utf-8"))
    return content


def plays(scenario: Path) -> list[dict[str, Any]]:
    """Return the plays that a scenario converges with."""
    named = read(scenario)["provisioner"].get("playbooks", {}).get("converge", "converge.yml")
    path = scenario.parent / named
    content: list[dict[str, Any]] = yaml.safe_load(path.read_text("utf-8")) if path.exists() else []
    return content


def roles_of(scenario: Path) -> set[str]:
    """Return the roles that a scenario converges with, those that they run included."""
    groups = read(scenario)["provisioner"].get("inventory", {}).get("group_vars", {})
    found = set(groups.get("all", {}).get("converge_roles", []))
    for play in plays(scenario):
        found |= {role["role"].removeprefix(PREFIX) for role in play.get("roles", [])}
    kinds = {platform.get("kind", "container") for platform in read(scenario)["platforms"]}
    for role in sorted(found):
        dependencies = yaml.safe_load((ROOT / "roles" / role / "meta" / "main.yml").read_text())
        found |= {one["role"].removeprefix(PREFIX) for one in dependencies["dependencies"]}
        for kind in kinds:
            parts = included_roles(ROOT / "roles" / role, kind, {})
            found |= {part.removeprefix(PREFIX) for part in parts}
    return found


def proved(release: str) -> set[str]:
    """Return the roles that scenarios run in check mode and twice on *release*."""
    found = set[str]()
    for scenario in SCENARIOS:
        content = read(scenario)
        releases = {platform.get("suite") for platform in content["platforms"]}
        if set(content["scenario"]["test_sequence"]) >= PROOF and release in releases:
            found |= roles_of(scenario)
    return found


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_every_other_role_runs_in_check_mode_and_twice_on_each_release(release: str) -> None:
    assert ROLES - proved(release) - set(PROVED_ELSEWHERE) == IN_NO_SCENARIO


@pytest.mark.parametrize("role", PROVED_ELSEWHERE)
def test_what_no_scenario_runs_twice_has_tests_of_its_own_that_do(role: str) -> None:
    text = (ROOT / "tests" / "integration" / "roles" / f"test_{role}.py").read_text("utf-8")
    names = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    assert names >= PROVED_ELSEWHERE[role]


def test_there_are_scenarios() -> None:
    assert SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: str(path.parent.name))
def test_a_scenario_verifies_with_tests_that_are_there(scenario: Path) -> None:
    content = read(scenario)
    verifier = content["verifier"]
    assert verifier["name"] == "testinfra"
    assert verifier.get("enabled", True)
    assert "verify" in content["scenario"]["test_sequence"]
    directory = scenario.parent / verifier["directory"]
    for more in (".", *verifier.get("additional_files_or_dirs", [])):
        assert list((directory / more).rglob("test_*.py")), more
    # By default pytest skips a test whose host is not in the inventory.
    assert verifier["options"]["override-ini"] == "empty_parameter_set_mark=fail_at_collect"
