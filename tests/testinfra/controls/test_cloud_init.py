# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role cloud_init left: instances are told who may log in, and little else."""

from __future__ import annotations

from typing import Any

import yaml
from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]

CHANGES = {
    "ansible",
    "apt_configure",
    "apt_pipelining",
    "bootcmd",
    "chef",
    "disk_setup",
    "fan",
    "landscape",
    "mcollective",
    "mounts",
    "package_update_upgrade_install",
    "puppet",
    "salt_minion",
    "set_passwords",
    "snap",
    "wireguard",
}
"""Modules that change what the image is, or who may log in with what."""


def settings(host: Host) -> dict[str, Any]:
    """Return the settings that cloud-init goes by: the later file wins."""
    found: dict[str, Any] = {}
    names = host.check_output("ls /etc/cloud/cloud.cfg.d").split()
    parts = [f"cloud.cfg.d/{name}" for name in sorted(names) if name.endswith(".cfg")]
    for part in ["cloud.cfg", *parts]:
        found |= yaml.safe_load(host.check_output(f"cat /etc/cloud/{part}")) or {}
    return found


def own(host: Host) -> dict[str, Any]:
    """Return what the image itself says."""
    said: dict[str, Any] = yaml.safe_load(
        host.run("cat /etc/cloud/cloud.cfg.d/60-kiln.cfg").stdout or "{}"
    )
    return said


def test_sources_are_those_of_the_image(host: Host) -> None:
    named = own(host)["datasource_list"]
    assert named
    assert settings(host)["datasource_list"] == named


def test_user_data_does_not_change_the_image(host: Host) -> None:
    found = settings(host)
    stages = ("cloud_init_modules", "cloud_config_modules", "cloud_final_modules")
    modules = {str(one).replace("-", "_") for stage in stages for one in found[stage]}
    assert modules & CHANGES == set()


def test_no_password_opens_ssh(host: Host) -> None:
    assert settings(host)["ssh_pwauth"] is False


def test_the_owner_has_no_password(host: Host) -> None:
    assert settings(host)["system_info"]["default_user"]["lock_passwd"] is True


def test_root_gets_no_keys(host: Host) -> None:
    assert settings(host)["disable_root"] is True
