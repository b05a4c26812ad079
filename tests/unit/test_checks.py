# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner of the checks tells the truth: what did not run, or was left behind, has failed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import checks
import pytest
from checks import Check


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the logs go to a folder of the test's own."""
    monkeypatch.setattr(checks, "LOGS", tmp_path)
    return tmp_path


def python(name: str, *programs: str, limit: float = 60) -> Check:
    """Return a check that runs each of *programs* in Python."""
    commands = tuple((sys.executable, "-c", program) for program in programs)
    return Check(name, "static", commands, limit=limit)


def test_a_check_that_succeeds_counts_as_one_passed() -> None:
    outcome = asyncio.run(checks.run_check(python("good", "pass", "pass"), os.environ))
    assert (outcome.passed, outcome.failed, outcome.reason) == (1, 0, "")


def test_a_check_ends_with_its_first_failing_command(logs: Path) -> None:
    check = python("bad", "raise SystemExit(3)", "print('not reached')")
    outcome = asyncio.run(checks.run_check(check, os.environ))
    assert (outcome.passed, outcome.failed, outcome.reason) == (0, 1, "exit status 3")
    assert (logs / "bad.log").read_text() == ""


def test_a_command_that_does_not_exist_is_a_failure() -> None:
    check = Check("gone", "static", (("/nonexistent/program",),))
    outcome = asyncio.run(checks.run_check(check, os.environ))
    assert outcome.failed == 1
    assert "/nonexistent/program" in outcome.reason


def test_a_check_that_takes_too_long_is_stopped() -> None:
    check = python("slow", "import signal; signal.pause()", limit=0.1)
    outcome = asyncio.run(checks.run_check(check, os.environ))
    assert (outcome.failed, outcome.reason) == (1, "not done within 0.1 s")


def results(path: Path, **counts: int) -> Path:
    """Write what pytest writes for *counts*."""
    attributes = " ".join(f'{name}="{count}"' for name, count in counts.items())
    path.write_text(f"<testsuites><testsuite {attributes}/></testsuites>")
    return path


def test_tests_are_counted_one_by_one(logs: Path) -> None:
    junit = results(logs / "r.xml", tests=9, failures=2, errors=1, skipped=0)
    outcome = checks.count_tests("unit", junit, 1.0, "exit status 1")
    assert (outcome.passed, outcome.failed) == (6, 3)


def test_a_skipped_test_is_a_failure(logs: Path) -> None:
    junit = results(logs / "r.xml", tests=9, failures=0, errors=0, skipped=2)
    outcome = checks.count_tests("unit", junit, 1.0, "")
    assert (outcome.passed, outcome.failed) == (7, 2)


def test_a_run_without_tests_is_a_failure(logs: Path) -> None:
    junit = results(logs / "r.xml", tests=0, failures=0, errors=0, skipped=0)
    assert checks.count_tests("unit", junit, 1.0, "").failed == 1


def test_a_run_that_crashed_before_its_results_is_a_failure(logs: Path) -> None:
    assert checks.count_tests("unit", logs / "none.xml", 1.0, "exit status 3").failed == 1


def test_a_run_that_fails_with_every_test_passed_is_a_failure(logs: Path) -> None:
    junit = results(logs / "r.xml", tests=4, failures=0, errors=0, skipped=0)
    assert checks.count_tests("unit", junit, 1.0, "exit status 3").failed == 1


def test_checks_are_selected_by_name_or_group(tmp_path: Path) -> None:
    (tmp_path / "molecule" / "web").mkdir(parents=True)
    (tmp_path / "molecule" / "web" / "molecule.yml").touch()
    every = checks.all_checks(tmp_path)
    assert [check.name for check in checks.select(every, "molecule,unit")] == [
        "unit",
        "molecule-web",
    ]
    assert checks.select(every, "") == every


def test_a_check_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"no check named unti; there are: .*unit"):
        checks.select(checks.all_checks(), "unti")


def test_the_unit_tests_have_their_files_in_memory_where_that_does_what_a_disk_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: Path
) -> None:
    assert checks.quick_place(tmp_path / "nothing") is None
    monkeypatch.setattr(checks, "ROOM", 1 << 62)
    assert checks.quick_place(tmp_path) is None
    program = "import os; print(os.environ['PYTEST_DEBUG_TEMPROOT'])"
    env = {**os.environ, "PYTEST_DEBUG_TEMPROOT": "slow", checks.QUICK: "quick"}
    for group in ("unit", "static"):
        check = Check(group, group, ((sys.executable, "-c", program),))
        asyncio.run(checks.run_check(check, env))
    assert [(logs / f"{name}.log").read_text() for name in ("unit", "static")] == [
        "quick\n",
        "slow\n",
    ]


def test_a_process_that_a_check_leaves_behind_is_found() -> None:
    environment = {**os.environ, checks.MARK: "left-by-a-test"}
    program = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = checks.marked_processes("left-by-a-test")
        process.communicate()
    assert found.keys() == {process.pid}


def test_two_checks_run_at_once_but_only_one_scenario(tmp_path: Path) -> None:
    """Each notes its start and its end; what lies between is what ran beside it."""
    notes = tmp_path / "notes"
    program = (
        "import sys, time; note = open({path!r}, 'a', buffering=1);"
        "note.write('+{name} '); time.sleep(0.2); note.write('-{name} ')"
    )
    listed = [
        Check(name, group, ((sys.executable, "-c", program.format(path=str(notes), name=name)),))
        for name, group in (("a", "molecule"), ("b", "molecule"), ("c", "unit"), ("d", "molecule"))
    ]
    outcomes = asyncio.run(checks.run_all(listed, os.environ))
    assert sorted(outcome.name for outcome in outcomes if outcome.passed) == list("abcd")
    running: set[str] = set()
    for note in notes.read_text().split():
        (running.add if note[0] == "+" else running.remove)(note[1])
        assert len(running) <= checks.LANES
        assert len(running - {"c"}) <= 1


def test_the_checks_named_longest_exist() -> None:
    assert set(checks.LONGEST) <= {check.name for check in checks.all_checks()}
