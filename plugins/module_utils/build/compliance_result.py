# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a compliance scan found, and what that comes to when waivers are counted. Pure."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import DriverError

RULE_PREFIX = "xccdf_org.ssgproject.content_rule_"
_XCCDF = "{http://checklists.nist.gov/xccdf/1.2}"

_OUTCOMES = {
    "pass": "passed",
    "fixed": "passed",
    "fail": "failed",
    "notapplicable": "not_applicable",
    # The scanner could not tell: that is neither a pass nor a proof of the contrary.
    "error": "unclear",
    "unknown": "unclear",
    "notchecked": "unclear",
}
"""XCCDF 1.2 (NISTIR 7275r4), table 26, but for rules that the profile leaves out."""


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What became of a rule.

    :param rule: its id, without ``xccdf_org.ssgproject.content_rule_``.
    :param severity: ``low``, ``medium``, ``high`` or ``unknown``.
    :param outcome: ``passed``, ``failed``, ``not_applicable`` or ``unclear``.
    """

    rule: str
    title: str
    severity: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Scan:
    """A finished scan.

    :param product: what the content is for: ``debian12``.
    :param content: the content's version.
    :param scanner: CPE of the scanner.
    """

    profile: str
    product: str
    content: str
    scanner: str
    rules: tuple[RuleResult, ...]

    def outcome(self, name: str) -> tuple[RuleResult, ...]:
        """Return the rules that came to *name*, sorted by id."""
        return tuple(rule for rule in self.rules if rule.outcome == name)


@dataclass(frozen=True, slots=True)
class Judged:
    """A scan and the waivers that count for it.

    :param waived: rules that fail and have a waiver, with its reason.
    :param failed: rules that fail and have none.
    """

    scan: Scan
    waived: tuple[tuple[RuleResult, str], ...]
    failed: tuple[RuleResult, ...]

    @property
    def score(self) -> float:
        """The percentage of rules that pass, of those that pass or fail; a waiver is no pass."""
        passed, failed = len(self.scan.outcome("passed")), len(self.scan.outcome("failed"))
        return round(100 * passed / (passed + failed), 1) if passed + failed else 100.0

    def as_json(self) -> dict[str, Any]:
        """The judgement as JSON-able values: the predicate of its statement."""
        scan = self.scan
        return {
            "profile": scan.profile,
            "product": scan.product,
            "content": scan.content,
            "scanner": scan.scanner,
            "result": "failed" if self.failed else "passed",
            "score": self.score,
            "counts": {
                "passed": len(scan.outcome("passed")),
                "failed": len(self.failed),
                "waived": len(self.waived),
                "not_applicable": len(scan.outcome("not_applicable")),
                "unclear": len(scan.outcome("unclear")),
            },
            "failed": [_row(rule) for rule in self.failed],
            "waived": [{**_row(rule), "reason": reason} for rule, reason in self.waived],
            "unclear": [_row(rule) for rule in scan.outcome("unclear")],
            "passed": [rule.rule for rule in scan.outcome("passed")],
            "not_applicable": [rule.rule for rule in scan.outcome("not_applicable")],
        }


def _row(rule: RuleResult) -> dict[str, str]:
    return {"rule": rule.rule, "title": rule.title, "severity": rule.severity}


def judge(scan: Scan, waivers: Mapping[str, str]) -> Judged:
    """Match the rules that fail with *waivers*: reasons by rule id."""
    failing = scan.outcome("failed")
    return Judged(
        scan,
        tuple((rule, waivers[rule.rule]) for rule in failing if rule.rule in waivers),
        tuple(rule for rule in failing if rule.rule not in waivers),
    )


def stops(judged: Judged, fail: str) -> tuple[RuleResult, ...]:
    """Return the rules for which an image gets no version, with *fail* as its definition has it."""
    if fail == "never":
        return ()
    if fail == "any":
        return judged.scan.outcome("failed")
    return judged.failed


def read_scan(results: bytes, *, profile: str, product: str) -> Scan:
    """Read a scan from the XCCDF document that OpenSCAP wrote; DriverError when it is none."""
    # Imported here, because a bake that does not scan need not wait for it.
    from xml.etree import ElementTree

    titles: dict[str, str] = {}
    found: list[RuleResult] = []
    content = scanner = ""
    try:
        # No entity comes from the image: OpenSCAP writes text escaped, and no DTD.
        for _event, element in ElementTree.iterparse(io.BytesIO(results)):  # noqa: S314
            if element.tag == f"{_XCCDF}Rule":
                title = element.find(f"{_XCCDF}title")
                titles[element.get("id", "")] = _text(title)
                element.clear()
            elif element.tag == f"{_XCCDF}TestResult":
                content, scanner = element.get("version", ""), element.get("test-system", "")
                found += [
                    RuleResult(
                        one.get("idref", ""), "", one.get("severity", "unknown"), _outcome(one)
                    )
                    for one in element.findall(f"{_XCCDF}rule-result")
                ]
    except ElementTree.ParseError as error:
        raise DriverError(f"OpenSCAP's results are no XML: {error}.") from error
    if not found:
        raise DriverError("OpenSCAP's results hold no rule.")
    rules = sorted(
        (
            RuleResult(
                one.rule.removeprefix(RULE_PREFIX),
                titles.get(one.rule, ""),
                one.severity,
                one.outcome,
            )
            for one in found
            if one.outcome
        ),
        key=lambda rule: rule.rule,
    )
    if not rules:
        raise DriverError(f"The profile {profile} selects no rule.")
    # One rule may have a result for each of its instances: the worst of them counts.
    worst: dict[str, RuleResult] = {}
    for rule in rules:
        known = worst.get(rule.rule)
        if known is None or _RANK[rule.outcome] > _RANK[known.outcome]:
            worst[rule.rule] = rule
    return Scan(profile, product, content, scanner, tuple(worst.values()))


_RANK = {"not_applicable": 0, "passed": 1, "unclear": 2, "failed": 3}


def _outcome(rule_result: Any) -> str:
    return _OUTCOMES.get(_text(rule_result.find(f"{_XCCDF}result")), "")


def _text(element: Any) -> str:
    return "" if element is None else " ".join("".join(element.itertext()).split())
