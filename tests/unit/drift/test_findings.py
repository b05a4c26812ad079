# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that let findings pass, and how findings are told."""

from __future__ import annotations

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.drift.findings import (
    Finding,
    Kind,
    Rule,
    judge,
    read_rules,
    render,
)


def written(path: str) -> Finding:
    """Return that a file was added."""
    return Finding(Kind.FILE, path, "added")


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("/var/x", "/var/x", True),
        ("/var/x", "/var/xy", False),
        ("/var/*", "/var/x", True),
        ("/var/*", "/var/x/y", False),
        ("/var/**", "/var/x/y", True),
        ("/var/**", "/var", False),
        ("/var/?.log", "/var/a.log", True),
        ("/var/[a]", "/var/a", False),
        ("**/__pycache__/**", "/usr/lib/a/__pycache__/b.pyc", True),
    ],
)
def test_a_pattern_covers_what_it_says(pattern: str, path: str, covered: bool) -> None:
    assert Rule(Kind.FILE, pattern, "why").covers(written(path)) is covered


def test_a_rule_covers_findings_of_its_kind_only() -> None:
    rule = Rule(Kind.FILE, "/usr/app", "why")
    assert not rule.covers(Finding(Kind.PROCESS, "/usr/app", "replaced"))


def test_what_is_let_pass_is_told_with_its_reason_and_makes_no_drift() -> None:
    rules = read_rules([{"file": "/var/*", "reason": "the app's notes"}], "ignore")
    report = judge("web-1", "web 1.0.1", [written("/var/x")], rules)
    assert not report.drifted
    assert report.as_json()["ignored"][0]["reason"] == "the app's notes"
    assert any("the app's notes" in line for line in render(report))


def test_a_rule_without_use_is_told() -> None:
    rules = read_rules([{"package": "x:*", "reason": "why"}], "ignore")
    report = judge("web-1", "web 1.0.1", [written("/var/x")], rules)
    assert report.drifted
    assert report.unused == rules
    assert report.summary == "1 file"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"file": "/x"}, "must be a list"),
        (["/x"], "must be a mapping"),
        ([{"file": "/x"}], "gives no reason"),
        ([{"file": "/x", "reason": " "}], "gives no reason"),
        ([{"reason": "why"}], "must name one of"),
        ([{"file": "/x", "package": "y", "reason": "why"}], "must name one of"),
        ([{"path": "/x", "reason": "why"}], "path, which no rule has"),
        ([{"image": "*", "reason": "why"}], "image, which no rule has"),
        ([{"file": "", "reason": "why"}], "empty pattern"),
    ],
)
def test_a_rule_that_is_none_is_refused_with_its_place(value: object, said: str) -> None:
    with pytest.raises(DriverError) as caught:
        read_rules(value, "The option ignore")
    assert said in str(caught.value)
    assert "The option ignore" in str(caught.value)


def test_many_findings_are_counted_instead_of_listed() -> None:
    report = judge("web-1", "web 1.0.1", [written(f"/x{at}") for at in range(50)], ())
    lines = render(report, most=10)
    assert len(lines) == 12
    assert lines[-1].strip() == "and 40 more"
    assert "50 files" in lines[0]
