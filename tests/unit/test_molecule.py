# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Molecule scenario verifies: its verifier, which is content without tests, has some to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

SCENARIOS = sorted((Path(__file__).resolve().parents[2] / "molecule").glob("*/molecule.yml"))


def read(scenario: Path) -> dict[str, Any]:
    """Return the content of a scenario's file."""
    content: dict[str, Any] = yaml.safe_load(scenario.read_text("utf-8"))
    return content


def test_there_are_scenarios() -> None:
    assert SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: str(path.parent.name))
def test_a_scenario_verifies_with_tests_that_are_there(scenario: Path) -> None:
    content = read(scenario)
    verifier = content["verifier"]
    assert verifier["name"] == "testinfra"
    assert verifier.get("enabled", True)
    assert "verify" in content["scenario"]["test_sequence"]
    assert list((scenario.parent / verifier["directory"]).rglob("test_*.py"))
    # By default pytest skips a test whose host is not in the inventory.
    assert verifier["options"]["override-ini"] == "empty_parameter_set_mark=fail_at_collect"
