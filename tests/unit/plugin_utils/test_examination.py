# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found out about a finished image: what stops its version, and what is kept of it."""

from __future__ import annotations

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci import predicates
from ansible_collections.kiln.immutable.plugins.plugin_utils.examination import Finding, refuse

GOSS = {
    "file": "ab",
    "passed": ["Port tcp:80: listening"],
    "failed": [{"test": "User x: exists", "said": "x"}],
}


def test_all_that_stops_a_version_is_said_at_once() -> None:
    findings = (
        Finding("compliance", {"score": 1}, "2 rules fail:\n  umask"),
        Finding("lynis", {}),
        Finding("goss", GOSS, "1 tests of goss fail:\n  x"),
    )
    with pytest.raises(DriverError, match="web gets no version") as caught:
        refuse("web", findings)
    assert "2 rules fail:\n  umask\n1 tests of goss fail:\n  x" in caught.value.message
    assert caught.value.details["findings"] == {
        "compliance": {"score": 1},
        "lynis": {},
        "goss": GOSS,
    }


def test_a_version_is_given_when_nothing_stops_it() -> None:
    refuse("web", (Finding("lynis", {"hardening_index": 3}),))


def test_goss_is_kept_as_in_toto_s_test_result() -> None:
    statement = Finding("goss", GOSS).statement
    assert statement.predicate_type == predicates.TEST_RESULT
    assert statement.predicate == {
        "result": "FAILED",
        "configuration": [{"name": "goss", "digest": {"sha256": "ab"}}],
        "passedTests": ["Port tcp:80: listening"],
        "warnedTests": [],
        "failedTests": ["User x: exists"],
    }


def test_a_scan_is_kept_as_a_policy_asks_for_it() -> None:
    statement = Finding("compliance", {"score": 98.0}).statement
    assert (statement.predicate_type, statement.predicate) == (
        predicates.HARDENING,
        {"score": 98.0},
    )
