# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What waivers come to: unknown controls are refused, rules are explained."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import (
    Definition,
    load,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.report.controls_model import Control
from ansible_collections.kiln.immutable.plugins.module_utils.report.waived import (
    check_waivers,
    reasons_by_rule,
)

CONTROLS = (
    Control("kernel-modules", "kernel", "No module is loaded", openscap=("mod_a", "mod_b")),
    Control("disk-tmp", "disk", "A disk", openscap=("tmp",), waiver="In memory.", kinds=("vm",)),
    Control("disk-var", "disk", "A disk", openscap=("var",), waiver="No.", releases=("trixie",)),
)


def definition(folder: Path, waivers: str) -> Definition:
    path = folder / "app.yml"
    path.write_text(f"base: {{debootstrap: {{suite: bookworm}}}}\nkind: vm\nwaivers:\n{waivers}")
    return load(path)


def test_a_waived_control_is_one_of_the_image_s_roles(tmp_path: Path) -> None:
    check_waivers(definition(tmp_path, "  - {control: kernel-modules, reason: No.}\n"), CONTROLS)


@pytest.mark.parametrize(
    ("name", "advice"),
    [("kernel-module", "did you mean kernel-modules?"), ("x", "docs/hardening.md lists them.")],
)
def test_another_one_is_refused_with_its_line(tmp_path: Path, name: str, advice: str) -> None:
    wrong = definition(tmp_path, f"  - {{control: {name}, reason: No.}}\n")

    with pytest.raises(DriverError) as caught:
        check_waivers(wrong, CONTROLS)

    assert caught.value.message == (
        f"{wrong.path}:4: waivers: {name} is no control of the roles in its layers; {advice}"
    )


def test_the_roles_own_waivers_explain_rules_where_they_hold(tmp_path: Path) -> None:
    found = reasons_by_rule(definition(tmp_path, ""), CONTROLS, "bookworm")

    assert found == {"tmp": "In memory. (disk-tmp)"}


def test_the_definition_s_waivers_explain_rules_first_of_all(tmp_path: Path) -> None:
    waivers = (
        "  - {control: kernel-modules, reason: It loads one.}\n"
        "  - {rule: mod_b, reason: That one.}\n"
        "  - {rule: tmp, reason: It is small.}\n"
    )

    assert reasons_by_rule(definition(tmp_path, waivers), CONTROLS, "bookworm") == {
        "mod_a": "It loads one. (kernel-modules)",
        "mod_b": "That one.",
        "tmp": "It is small.",
    }
