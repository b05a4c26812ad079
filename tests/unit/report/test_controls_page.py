# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page about all controls says of each what it is and what it goes back to."""

from __future__ import annotations

from ansible_collections.kiln.immutable.plugins.module_utils.report.controls_model import Control
from ansible_collections.kiln.immutable.plugins.module_utils.report.controls_page import (
    render_controls_page,
)

DONE = Control(
    "kernel-addresses",
    "kernel",
    "Addresses are hidden",
    why="A leaked one helps.",
    cis={"bookworm": ("1.5.4",), "trixie": ("1.5.5", "1.5.6")},
    anssi=("R9",),
    openscap=("sysctl_kptr",),
    variable="kernel_sysctl",
    kinds=("vm",),
    check="test_x",
)
WAIVED = Control("disk-tmp", "disk", "/tmp is a partition", waiver="It is in memory.")
ABOUT = {"kernel": "Restricts the kernel", "disk": "Restricts files"}


def test_a_control_has_its_reason_variable_and_references() -> None:
    page = render_controls_page([DONE], ABOUT)

    assert (
        "## kernel\n\nRestricts the kernel.\n\n"
        "- `kernel-addresses`: **Addresses are hidden.** A leaked one helps. Only in a VM.  \n"
        "  `kernel_sysctl`; CIS 12: 1.5.4; CIS 13: 1.5.5, 1.5.6; ANSSI R9; OpenSCAP `sysctl_kptr`\n"
    ) in page
    assert "Not done" not in page


def test_what_is_not_done_has_its_reason() -> None:
    page = render_controls_page([DONE, WAIVED], ABOUT)

    assert page.endswith("- `disk-tmp`: **/tmp is a partition.** It is in memory.\n")
    assert "## disk\n" not in page


def test_the_controls_are_counted_by_kind_and_release() -> None:
    page = render_controls_page([DONE, WAIVED], ABOUT)

    assert "| container | bookworm | 0 |\n" in page
    assert "| vm | trixie | 1 |\n" in page
