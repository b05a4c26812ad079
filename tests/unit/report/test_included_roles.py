# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role that runs others as its parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.report.included_roles import (
    included_roles,
)

ROLES = Path(__file__).resolve().parents[3] / "roles"
HERE = "kiln.immutable.hardening_"
EVERYWHERE = ["accounts", "filesystem", "packages"]


@pytest.mark.parametrize(
    ("kind", "values", "parts"),
    [
        ("container", {}, ["kernel", *EVERYWHERE]),
        ("container", {"hardening_ssh": True}, ["kernel", *EVERYWHERE, "ssh"]),
        ("vm", {}, ["kernel", *EVERYWHERE, "ssh", "services"]),
        ("vm", {"hardening_kernel": False}, [*EVERYWHERE, "ssh", "services"]),
    ],
)
def test_switches_decide_which_parts_run(
    kind: str, values: dict[str, object], parts: list[str]
) -> None:
    found = included_roles(ROLES / "hardening", kind, values)
    assert set(found) == {HERE + part for part in parts}


def test_a_role_without_parts_has_none() -> None:
    assert included_roles(ROLES / "nginx", "vm", {}) == ()
