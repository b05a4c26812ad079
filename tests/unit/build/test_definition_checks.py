# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a definition asks of its finished image."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import load
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    Compliance,
    Definition,
    Seal,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.sealing import config_manifest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError


def read(folder: Path, seal: str, more: str = "") -> Definition:
    path = folder / "web.yml"
    path.write_text(f"name: web\nbase: {{debootstrap: {{suite: bookworm}}}}\nseal: {seal}\n{more}")
    return load(path)


def test_nothing_is_asked_unless_it_is_said(tmp_path: Path) -> None:
    definition = read(tmp_path, "{python: keep}")
    assert definition.seal == Seal("keep")
    assert not definition.seal.examines
    assert "examination" not in config_manifest(definition)


@pytest.mark.parametrize("prefix", ["", "xccdf_org.ssgproject.content_profile_"])
def test_a_profile_may_have_its_prefix(tmp_path: Path, prefix: str) -> None:
    found = read(tmp_path, f"{{compliance: {{profile: {prefix}cis_level1_server}}}}").seal
    assert found.compliance == Compliance("cis_level1_server", "unwaived")


def test_all_can_be_asked(tmp_path: Path) -> None:
    (tmp_path / "goss.conf").write_text("{}")
    asked = "{compliance: {profile: standard, fail: never}, goss: goss.conf, lynis: true}"
    found = read(tmp_path, asked).seal
    assert (found.compliance, found.lynis) == (Compliance("standard", "never"), True)
    assert found.goss == tmp_path / "goss.conf"


@pytest.mark.parametrize(
    ("seal", "says"),
    [
        ("{compliance: {}}", "seal.compliance.profile is missing; it names what"),
        ("{compliance: {profile: CIS 1}}", "seal.compliance.profile is CIS 1; a profile has"),
        ("{compliance: {profile: x, fail: waived}}", "did you mean unwaived"),
        ("{compliance: {profile: x, level: 1}}", "seal.compliance.level is not a known key"),
        ("{goss: gone.yaml}", "seal.goss is gone.yaml, where there is no file"),
        ("{lynis: maybe}", "seal.lynis is the text maybe; it must be true or false"),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, seal: str, says: str) -> None:
    with pytest.raises(DriverError, match=says):
        read(tmp_path, seal)


def test_with_more_asked_an_image_is_sealed_again(tmp_path: Path) -> None:
    goss = tmp_path / "goss.conf"
    goss.write_text("{}")
    scan = "{compliance: {profile: standard}}"
    waiver = "waivers: [{rule: a, reason: Why.}]\n"
    seen = [
        config_manifest(read(tmp_path, "{}")),
        config_manifest(read(tmp_path, scan)),
        config_manifest(read(tmp_path, scan, waiver)),
        config_manifest(read(tmp_path, "{lynis: true}")),
        config_manifest(read(tmp_path, "{goss: goss.conf}")),
    ]
    goss.write_text("{port: {}}")
    seen.append(config_manifest(read(tmp_path, "{goss: goss.conf}")))
    assert all(one not in seen[:at] for at, one in enumerate(seen))
