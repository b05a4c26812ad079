# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages that the security archive has fixed, and what installed scanners say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.trust.packages import Package
from ansible_collections.kiln.immutable.plugins.module_utils.trust.security_index import (
    Archive,
    SecurityIndex,
)
from ansible_collections.kiln.immutable.plugins.module_utils.trust.vulnerabilities import (
    scanner_statements,
    vulnerabilities_statement,
)

NOW = 1_800_000_000.0
ARCHIVE = Archive("http://mirror.test/security", "bookworm-security", ("main",))
OLDER = Archive("http://other.test/security", "bookworm-security", ("main",))
PACKAGES = [
    Package("libssl3", "3.0.1-1", "amd64", "openssl", "3.0.1-1", layer=1),
    Package("bash", "5.2-1", "amd64", "bash", "5.2-1"),
]


def index(version: str) -> SecurityIndex:
    return SecurityIndex({("libssl3", "amd64"): version, ("bash", "amd64"): "5.2-1"})


def found(
    archives: Sequence[Archive] = (ARCHIVE,), versions: dict[Archive, str] | None = None
) -> Any:
    known = {ARCHIVE: "3.0.2-1", **(versions or {})}

    def read(archive: Archive) -> SecurityIndex:
        if archive not in known:
            raise DriverError("It cannot be fetched.")
        return index(known[archive])

    return vulnerabilities_statement(PACKAGES, archives, read, now=NOW).predicate


def test_a_package_that_is_older_than_its_fix_is_told() -> None:
    assert found() == {
        "status": "complete",
        "problems": [],
        "archives": ["http://mirror.test/security bookworm-security"],
        "fixable": 1,
        "packages": [
            {
                "name": "libssl3",
                "version": "3.0.1-1",
                "fixed": "3.0.2-1",
                "suite": "bookworm-security",
                "source": "openssl",
                "layer": 1,
            }
        ],
        "scanned": "2027-01-15T08:00:00Z",
    }


@pytest.mark.parametrize("order", [(ARCHIVE, OLDER), (OLDER, ARCHIVE)])
def test_of_two_archives_the_newest_fix_counts(order: Sequence[Archive]) -> None:
    told = found(order, {OLDER: "3.0.1-2"})
    assert [one["fixed"] for one in told["packages"]] == ["3.0.2-1"]


def test_an_image_that_is_up_to_date_has_nothing_to_fix() -> None:
    assert found(versions={ARCHIVE: "3.0.1-1"})["fixable"] == 0


def test_an_archive_that_does_not_answer_is_no_clean_bill() -> None:
    told = found((OLDER, ARCHIVE))
    assert (told["status"], told["problems"]) == ("unknown", ["It cannot be fetched."])
    assert told["fixable"] == 1


def test_no_archive_is_no_clean_bill_either() -> None:
    assert found(())["status"] == "unknown"


class Tools:
    """Programs that answer as told."""

    def __init__(self, answers: dict[str, tuple[int, bytes]]) -> None:
        self.answers = answers
        self.asked: list[Sequence[str]] = []
        self.bills: list[Any] = []

    def __call__(self, argv: Sequence[str], **_options: Any) -> Completed:
        self.asked.append(argv)
        with open(argv[-1].removeprefix("sbom:"), "rb") as stream:
            self.bills.append(json.load(stream))
        status, output = self.answers[argv[0]]
        return Completed(status, output, b"it broke\n")

    def which(self, name: str) -> str | None:
        return f"/usr/bin/{name}" if name in self.answers else None


def ask(answers: dict[str, tuple[int, bytes]]) -> tuple[Tools, Any, list[str]]:
    tools = Tools(answers)
    statements, problems = scanner_statements(
        {"bomFormat": "CycloneDX"}, clock=lambda: NOW, which=tools.which, runner=tools
    )
    return tools, [one.predicate for one in statements], problems


def test_installed_scanners_get_the_bill_of_materials() -> None:
    answer = json.dumps({"descriptor": {"version": "0.9"}, "matches": [1]}).encode()
    tools, told, problems = ask({"grype": (0, answer), "trivy": (0, b"{}")})
    assert tools.bills == [{"bomFormat": "CycloneDX"}] * 2
    assert [one["scanner"]["uri"] for one in told] == ["grype", "trivy"]
    assert told[0]["scanner"]["version"] == "0.9"
    assert told[0]["scanner"]["result"]["matches"] == [1]
    assert told[0]["metadata"]["scanFinishedOn"] == "2027-01-15T08:00:00Z"
    assert problems == []


def test_scanners_that_are_not_installed_are_not_called() -> None:
    tools, told, problems = ask({})
    assert (tools.asked, told, problems) == ([], [], [])


def test_a_scanner_that_fails_is_told_and_attests_nothing() -> None:
    _tools, told, problems = ask({"grype": (1, b""), "trivy": (0, b"no json")})
    assert told == []
    assert problems == ["grype failed with exit status 1: it broke", "trivy answered no JSON."]
