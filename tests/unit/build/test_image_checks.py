# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""goss and Lynis: what their answers mean."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.image_checks import (
    read_goss_result,
    read_lynis_report,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError


def answer(*outcomes: bool | None) -> bytes:
    """Return goss's answer for tests that passed (True), failed or were skipped (None)."""
    results: list[dict[str, Any]] = [
        {
            "resource-type": "Port",
            "resource-id": f"tcp:{number}",
            "property": "listening",
            "successful": bool(outcome),
            "skipped": outcome is None,
            "summary-line": f"Port {number} said",
        }
        for number, outcome in enumerate(outcomes)
    ]
    return json.dumps({"results": results, "summary": {}}).encode()


def test_tests_that_pass_fail_and_are_skipped_are_told_apart() -> None:
    found = read_goss_result(answer(True, False, None), "")
    assert found["counts"] == {"passed": 1, "failed": 1, "skipped": 1}
    assert found["failed"] == [{"test": "Port tcp:1: listening", "said": "Port 1 said"}]
    assert found["passed"] == ["Port tcp:0: listening"]
    assert found["result"] == "failed"


def test_of_several_attempts_the_last_counts() -> None:
    noise = b"Retrying in 500ms (elapsed/timeout time: 0.1s/30s)\n\n\nAttempt #2:\n"
    assert read_goss_result(answer(False) + noise + answer(True), "")["result"] == "passed"


@pytest.mark.parametrize("output", [b"", b"Error: yaml: line 2", b'{"results":', b"{}"])
def test_no_result_is_never_a_pass(output: bytes) -> None:
    with pytest.raises(DriverError, match="goss gave no result: yaml is bad"):
        read_goss_result(output, "yaml is bad")


REPORT = """\
# Lynis Report
lynis_version=3.1.4
hardening_index=67
tests_executed=AUTH-9230|BANN-7126|
warning[]=PKGS-7392|Found one or more vulnerable packages.|-|-|
suggestion[]=LYNIS|This release is more than 4 months old.|-|-|
suggestion[]=BANN-7126|Add a legal banner|-|text:x=y|
"""


def test_the_report_of_lynis_is_read() -> None:
    assert read_lynis_report(REPORT) == {
        "version": "3.1.4",
        "hardening_index": 67,
        "tests": 2,
        "warnings": [{"test": "PKGS-7392", "text": "Found one or more vulnerable packages."}],
        "suggestions": [{"test": "BANN-7126", "text": "Add a legal banner"}],
    }


def test_a_report_that_breaks_off_is_refused() -> None:
    with pytest.raises(DriverError, match="did not come to its end"):
        read_lynis_report("lynis_version=3.1.4\n")
