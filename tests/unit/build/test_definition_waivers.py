# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waivers of a definition: what an image does not hold to, with a reason each."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import Waiver, load
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

HEAD = "base:\n  debootstrap: {suite: bookworm}\nwaivers:\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "app.yml"
    path.write_text(HEAD + text)
    return path


def test_controls_and_rules_are_waived_with_a_reason(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "  - control: kernel-modules\n    reason: >-\n      The build\n      loads one.\n"
        "  - {rule: xccdf_org.ssgproject.content_rule_partition_for_tmp, reason: In memory.}\n",
    )

    assert load(path).waivers == (
        Waiver(control="kernel-modules", reason="The build loads one."),
        Waiver(rule="partition_for_tmp", reason="In memory."),
    )
    assert [waiver.line for waiver in load(path).waivers] == [4, 8]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  - {control: a-b}\n", "4: waivers[0].reason is missing; a waiver says why."),
        (
            "  - {control: a-b, reason: ''}\n",
            "4: waivers[0].reason is empty; give text, or leave the key out.",
        ),
        (
            "  - {reason: No.}\n",
            (
                "4: waivers[0] names not exactly one of control and rule; give each a waiver of "
                "its own."
            ),
        ),
        (
            "  - {control: a-b, rule: x, reason: No.}\n",
            (
                "4: waivers[0] names not exactly one of control and rule; give each a waiver of "
                "its own."
            ),
        ),
        (
            "  - {control: a-b, reason: No.}\n  - {control: a-b, reason: Never.}\n",
            "5: waivers[1] is about control a-b, as line 4 is; keep one.",
        ),
        (
            "  - {contrl: a-b, reason: No.}\n",
            "4: waivers[0].contrl is not a known key; did you mean control?",
        ),
    ],
    ids=["no reason", "empty reason", "neither", "both", "twice", "unknown key"],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(DriverError) as caught:
        load(path)

    assert f"{path}:{message}" in caught.value.message.splitlines()
