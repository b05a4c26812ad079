# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible's facts say of an image while it is baked. Pure."""

from __future__ import annotations

from typing import Any

from .records import BaseRecord


def system_facts(base: BaseRecord) -> dict[str, Any]:
    """Return Ansible's facts of the image, for roles that ask for them.

    They say what the image is and nothing of the machine that bakes it: those would differ from
    bake to bake.
    """
    number = {"bookworm": "12", "trixie": "13"}.get(base.suite)
    facts: dict[str, Any] = {
        "architecture": {"amd64": "x86_64", "arm64": "aarch64"}.get(
            base.architecture, base.architecture
        ),
        "distribution_release": base.suite,
        "os_family": "Debian",
        "pkg_mgr": "apt",
        "system": "Linux",
        "virtualization_type": "container",
        "virtualization_role": "guest",
    }
    if number is not None:
        facts["distribution"] = "Debian"
        facts["distribution_major_version"] = number
        facts["distribution_version"] = number
    return facts
