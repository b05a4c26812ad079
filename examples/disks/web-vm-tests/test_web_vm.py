# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine web-vm must be like once it runs, asked over SSH before it gets a version."""

from __future__ import annotations

from testinfra.host import Host


def test_the_site_is_served(host: Host) -> None:
    assert host.service("nginx").is_running
    assert host.socket("tcp://0.0.0.0:8080").is_listening


def test_nginx_is_an_ordinary_user(host: Host) -> None:
    owners = host.check_output("ps -o user= -C nginx").split()

    assert set(owners) == {"www-data"}


def test_nobody_writes_the_root(host: Host) -> None:
    assert host.run("sudo touch /usr/forged").rc != 0
    assert host.run("sudo mount -o remount,rw /").rc != 0
    assert host.mount_point("/").filesystem == "erofs"


def test_every_unit_is_well(host: Host) -> None:
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""
