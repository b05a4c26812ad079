# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found to differ, the rules by which some of it is let pass, and how it is told. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from ..core.errors import DriverError


class Kind(StrEnum):
    """What a finding is about."""

    IMAGE = "image"
    SETTING = "setting"
    MOUNT = "mount"
    FILE = "file"
    PACKAGE = "package"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between an instance and what it should be.

    :param subject: a path, a package, a setting, or the path of a process's program.
    :param how: added, removed or changed; for processes deleted, foreign, replaced or entered.
    :param detail: what is different, in words; empty when *how* says it all.
    """

    kind: Kind
    subject: str
    how: str
    detail: str = ""

    def __str__(self) -> str:
        text = f"{self.kind.value} {self.subject} {self.how}"
        return f"{text}: {self.detail}" if self.detail else text

    def as_json(self) -> dict[str, str]:
        """The finding as an object of JSON."""
        return {"kind": self.kind.value, "subject": self.subject} | {
            "how": self.how,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Rule:
    """What is let pass, and why.

    :param pattern: of the subject: ``*`` is any text without a slash, ``**`` any text, ``?`` one
        letter. A pattern that ends in ``/**`` matches what is below, not the directory itself.
    """

    kind: Kind
    pattern: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Say whether *finding* is let pass."""
        return finding.kind is self.kind and bool(
            _compiled(self.pattern).fullmatch(finding.subject)
        )


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    forms = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(forms.get(part) or re.escape(part) for part in parts), re.DOTALL)


def read_rules(value: object, where: str) -> tuple[Rule, ...]:
    """Read rules as a definition or an option has them; DriverError says what is wrong *where*.

    Each is a mapping of one kind (``file``, ``package``, ``process``, ``setting``, ``mount``) to a
    pattern, and ``reason``.
    """
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise DriverError(f"{where} must be a list of rules, each with a pattern and a reason.")
    return tuple(_read_rule(one, f"{where}, rule {at}") for at, one in enumerate(value, 1))


def _read_rule(value: object, where: str) -> Rule:
    if not isinstance(value, Mapping):
        raise DriverError(f"{where} must be a mapping such as {{file: /var/x, reason: why}}.")
    kinds = [kind for kind in Kind if kind.value in value and kind is not Kind.IMAGE]
    unknown = sorted(set(map(str, value)) - {kind.value for kind in kinds} - {"reason"})
    if unknown:
        raise DriverError(f"{where} has {', '.join(unknown)}, which no rule has.")
    if len(kinds) != 1:
        raise DriverError(f"{where} must name one of file, package, process, setting and mount.")
    (kind,) = kinds
    pattern, reason = str(value[kind.value]).strip(), str(value.get("reason") or "").strip()
    if not pattern:
        raise DriverError(f"{where} has an empty pattern.")
    if not reason:
        raise DriverError(f"{where} gives no reason.", hint="Say why the difference is fine.")
    return Rule(kind, pattern, reason)


@dataclass(frozen=True, slots=True)
class Ignored:
    """A finding that was let pass, and why."""

    finding: Finding
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What one instance was found to be.

    :param version: ``NAME NUMBER`` of what it should be.
    :param findings: what no rule lets pass: any makes it drifted.
    :param unused: rules that let nothing pass.
    :param unseen: what was not looked at, and why.
    """

    instance: str
    version: str
    findings: tuple[Finding, ...]
    ignored: tuple[Ignored, ...] = ()
    unused: tuple[Rule, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def drifted(self) -> bool:
        """Whether it is not what it should be."""
        return bool(self.findings)

    @property
    def summary(self) -> str:
        """What was found, counted: ``3 files, 1 process``."""
        counts = dict.fromkeys(Kind, 0)
        for one in self.findings:
            counts[one.kind] += 1
        words = [_counted(count, kind) for kind, count in counts.items() if count]
        return ", ".join(words) or "none"

    def as_json(self) -> dict[str, Any]:
        """The report as an object of JSON."""
        return {
            "instance": self.instance,
            "version": self.version,
            "drifted": self.drifted,
            "summary": self.summary,
            "findings": [one.as_json() for one in self.findings],
            "ignored": [{**one.finding.as_json(), "reason": one.reason} for one in self.ignored],
            "unused_rules": [{**asdict(one), "kind": one.kind.value} for one in self.unused],
            "unseen": list(self.unseen),
        }


def _counted(count: int, kind: Kind) -> str:
    plural = {Kind.PROCESS: "processes"}.get(kind, f"{kind.value}s")
    return f"{count} {kind.value if count == 1 else plural}"


def judge(
    instance: str,
    version: str,
    found: Iterable[Finding],
    rules: Sequence[Rule],
    unseen: Sequence[str] = (),
) -> Report:
    """Part what was *found* into drift and what the *rules* let pass; the first rule counts."""
    findings: list[Finding] = []
    ignored: list[Ignored] = []
    used: set[Rule] = set()
    order = list(Kind)
    for one in sorted(found, key=lambda one: (order.index(one.kind), one.subject, one.how)):
        covering = [rule for rule in rules if rule.covers(one)]
        used.update(covering)
        if covering:
            ignored.append(Ignored(one, covering[0].reason))
        else:
            findings.append(one)
    unused = tuple(rule for rule in rules if rule not in used)
    return Report(instance, version, tuple(findings), tuple(ignored), unused, tuple(unseen))


def render(report: Report, most: int = 40) -> list[str]:
    """Return *report* as lines that a person reads.

    :param most: findings that are listed; of the rest only the number is told.
    """
    lines = [f"{report.instance} ({report.version}): {_verdict(report)}"]
    lines += [f"  {one}" for one in report.findings[:most]]
    if len(report.findings) > most:
        lines.append(f"  and {len(report.findings) - most} more")
    lines += [f"  let pass: {one.finding} ({one.reason})" for one in report.ignored[:most]]
    if len(report.ignored) > most:
        lines.append(f"  and {len(report.ignored) - most} more let pass")
    lines += [
        f"  a rule without use: {one.kind.value} {one.pattern} ({one.reason})"
        for one in report.unused
    ]
    return lines + [f"  not looked at: {one}" for one in report.unseen]


def _verdict(report: Report) -> str:
    return f"drifted, {report.summary}" if report.drifted else "as it should be"
