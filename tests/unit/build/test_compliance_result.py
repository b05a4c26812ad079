# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compliance scans: what OpenSCAP wrote, what waivers make of it, and what stops a version."""

from __future__ import annotations

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.compliance_result import (
    RuleResult,
    Scan,
    judge,
    read_scan,
    stops,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

NAMESPACE = "http://checklists.nist.gov/xccdf/1.2"
RULE = "xccdf_org.ssgproject.content_rule_"


def results(*outcomes: tuple[str, str]) -> bytes:
    """Return an XCCDF document whose rules, by name, came to *outcomes*."""
    rules = "".join(
        f'<Group id="g-{name}"><Rule id="{RULE}{name}"><title>Title of <em>{name}</em></title>'
        f"</Rule></Group>"
        for name in dict(outcomes)
    )
    found = "".join(
        f'<rule-result idref="{RULE}{name}" severity="medium"><result>{result}</result>'
        "</rule-result>"
        for name, result in outcomes
    )
    return (
        f'<Benchmark xmlns="{NAMESPACE}">{rules}<TestResult version="0.1.82"'
        f' test-system="cpe:/a:redhat:openscap:1.4.2">{found}</TestResult></Benchmark>'
    ).encode()


def scan(*outcomes: tuple[str, str]) -> Scan:
    return read_scan(results(*outcomes), profile="cis_level1_server", product="debian12")


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        ("pass", "passed"),
        ("fixed", "passed"),
        ("fail", "failed"),
        ("notapplicable", "not_applicable"),
        ("error", "unclear"),
        ("unknown", "unclear"),
        ("notchecked", "unclear"),
    ],
)
def test_each_result_of_a_rule_is_read(result: str, outcome: str) -> None:
    assert scan(("umask", result)).rules == (
        RuleResult("umask", "Title of umask", "medium", outcome),
    )


def test_rules_that_the_profile_leaves_out_are_no_part_of_it() -> None:
    assert [one.rule for one in scan(("a", "pass"), ("b", "notselected")).rules] == ["a"]


def test_of_several_instances_of_a_rule_the_worst_counts() -> None:
    found = scan(("a", "pass"), ("a", "fail"), ("a", "notapplicable"))
    assert [one.outcome for one in found.rules] == ["failed"]


def test_the_scanner_and_its_content_are_named() -> None:
    found = scan(("a", "pass"))
    assert (found.content, found.scanner) == ("0.1.82", "cpe:/a:redhat:openscap:1.4.2")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"", "no XML"),
        (b"<Benchmark/>", "hold no rule"),
        (results(("a", "notselected")), "selects no rule"),
    ],
)
def test_what_is_no_result_is_refused(document: bytes, says: str) -> None:
    with pytest.raises(DriverError, match=says):
        read_scan(document, profile="cis_level1_server", product="debian12")


def test_a_waiver_counts_for_a_rule_that_fails_and_for_no_other() -> None:
    judged = judge(scan(("a", "fail"), ("b", "fail"), ("c", "pass")), {"a": "Why.", "c": "Why."})
    assert [(rule.rule, reason) for rule, reason in judged.waived] == [("a", "Why.")]
    assert [rule.rule for rule in judged.failed] == ["b"]
    counts = judged.as_json()["counts"]
    assert counts == {"passed": 1, "failed": 1, "waived": 1, "not_applicable": 0, "unclear": 0}
    assert judged.as_json()["result"] == "failed"


@pytest.mark.parametrize(
    ("fail", "stopping"), [("unwaived", ["b"]), ("any", ["a", "b"]), ("never", [])]
)
def test_the_definition_says_what_stops_a_version(fail: str, stopping: list[str]) -> None:
    judged = judge(scan(("a", "fail"), ("b", "fail"), ("c", "error")), {"a": "Why."})
    assert [rule.rule for rule in stops(judged, fail)] == stopping


def test_a_scan_whose_failures_are_all_waived_has_passed() -> None:
    assert judge(scan(("a", "fail")), {"a": "Why."}).as_json()["result"] == "passed"


def test_the_score_is_the_share_of_rules_that_pass_and_a_waiver_is_no_pass() -> None:
    found = scan(("a", "fail"), ("b", "pass"), ("c", "pass"), ("d", "notapplicable"))
    assert judge(found, {"a": "Why."}).score == 66.7
    assert judge(scan(("d", "notapplicable")), {}).score == 100.0
