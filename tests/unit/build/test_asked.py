# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A version that lacks what is asked for now is attested again; one that has more is left alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.asked import asked_of, lacking
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    AllowedSecret,
    Compliance,
    Debootstrap,
    Definition,
    Scan,
    Seal,
    Waiver,
)

KEY = {"key": "sha256:1", "repository": "registry.example.org/team/web"}


PLAIN = Definition("web", Path("/images/web.yml"), "web.yml", "sha256:d", Debootstrap("bookworm"))


def sealed(seal: Seal) -> Definition:
    return replace(PLAIN, seal=seal)


def test_what_was_asked_and_said_is_not_said_again(tmp_path: Path) -> None:
    goss = tmp_path / "goss.yml"
    goss.write_text("port: {}\n", "utf-8")
    allowed = (AllowedSecret("/etc/key", "a test's"),)
    much = Seal(
        compliance=Compliance("cis_level1_server", "never"),
        goss=goss,
        lynis=True,
        scan=Scan(allowed=allowed),
    )
    waived = replace(sealed(much), waivers=(Waiver(rule="no_empty_passwords", reason="a test's"),))
    for definition in (PLAIN, waived):
        for signature in (None, KEY):
            asked = asked_of(definition, signature)
            # As it is read again.
            assert lacking(asked, json.loads(json.dumps(asked))) == ()


def test_a_version_of_which_nothing_is_known_is_attested() -> None:
    assert lacking(asked_of(PLAIN, None), None) == (
        "it is not known to have the attestations that are asked for",
    )


def test_less_than_was_said_is_no_reason() -> None:
    much = Seal(compliance=Compliance("cis_level1_server", "never"))
    said = asked_of(sealed(much), KEY)
    assert lacking(asked_of(sealed(Seal(sbom=False, scan=None)), None), said) == ()


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        (Seal(sbom=False), Seal(), "its bills of materials are missing"),
        (Seal(scan=None), Seal(), "its scan is missing"),
        (Seal(scan=Scan(vulnerabilities=False)), Seal(), "its scan was another one"),
        (
            Seal(scan=Scan(allowed=(AllowedSecret("/etc/key", "a test's"),))),
            Seal(),
            "its scan was another one",
        ),
        (Seal(), Seal(lynis=True), "its examination is missing"),
        (
            Seal(compliance=Compliance("cis_level1_server", "never")),
            Seal(compliance=Compliance("cis_level2_server", "never")),
            "its examination was another one",
        ),
    ],
)
def test_more_or_other_than_was_said_is_told(before: Seal, now: Seal, reason: str) -> None:
    said = asked_of(sealed(before), None)
    assert lacking(asked_of(sealed(now), None), said) == (reason,)


def test_a_waiver_that_was_taken_back_is_judged_again() -> None:
    strict = sealed(Seal(compliance=Compliance("cis_level1_server", "unwaived")))
    waived = replace(strict, waivers=(Waiver(rule="no_empty_passwords", reason="a test's"),))
    said = asked_of(waived, None)
    assert lacking(asked_of(strict, None), said) == ("its examination was another one",)


def test_a_new_key_and_a_new_place_are_told() -> None:
    asked = asked_of(PLAIN, KEY)
    for signature, reason in (
        (None, "it is not signed by the key that signs now"),
        ({**KEY, "key": "sha256:2"}, "it is not signed by the key that signs now"),
        ({**KEY, "repository": "kiln/web"}, "it is not signed for registry.example.org/team/web"),
    ):
        assert lacking(asked, asked_of(PLAIN, signature)) == (reason,)
