# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples that bake on a schedule: what systemd and the CI systems would say of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
UNITS = sorted((ROOT / "examples" / "schedule").glob("kiln-*"))
PIPELINES = {
    "gitlab-ci.yml": "vendor.gitlab-ci",
    "github-actions.yml": "vendor.github-workflows",
}


def test_each_timer_has_its_service() -> None:
    names = {path.name for path in UNITS}
    assert {"kiln-monthly.timer", "kiln-security.timer"} <= names
    assert {name.replace(".timer", ".service") for name in names if name.endswith("timer")} <= names


def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        # What is installed where the checks run is no fault of the unit.
        text = unit.read_text("utf-8").replace("/usr/bin/ansible-playbook", "/bin/true")
        (tmp_path / unit.name).write_text(text.replace("User=kiln\n", ""))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "kiln-" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("unit", "calendar"), [("security", "daily"), ("monthly", "monthly")])
def test_the_timers_run_when_they_say(unit: str, calendar: str) -> None:
    text = (ROOT / "examples" / "schedule" / f"kiln-{unit}.timer").read_text("utf-8")
    assert f"OnCalendar={calendar}\n" in text
    subprocess.run(["systemd-analyze", "calendar", calendar], check=True, capture_output=True)


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_a_pipeline_is_what_its_system_takes(name: str) -> None:
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema"),
            *(PIPELINES[name], str(ROOT / "examples" / "ci" / name)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "path", [*UNITS, *(ROOT / "examples" / "ci" / name for name in PIPELINES)], ids=lambda p: p.name
)
def test_only_playbooks_and_variables_that_there_are_are_used(path: Path) -> None:
    text = re.sub(r"\\\n\s*|\n\s+-e ", " ", path.read_text("utf-8"))
    calls = re.findall(r"ansible-playbook kiln\.immutable\.(\w+)([^\n]*)", text)
    assert calls or path.suffix == ".timer"
    for playbook, rest in calls:
        known = (ROOT / "playbooks" / f"{playbook}.yml").read_text("utf-8")
        for variable in re.findall(r"\b(kiln_\w+)=", rest):
            assert variable in known, f"{playbook} does not read {variable}"
