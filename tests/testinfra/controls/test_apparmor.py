# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role apparmor left: profiles that are loaded and enforced."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]


def test_installed(host: Host) -> None:
    assert host.run("test -x /usr/sbin/apparmor_parser -a -d /etc/apparmor.d").rc == 0


def test_at_boot(host: Host) -> None:
    link = "/etc/systemd/system/sysinit.target.wants/apparmor.service"
    assert "apparmor" in host.run("cat %s", link).stdout


def test_none_disabled(host: Host) -> None:
    assert host.run("ls -A /etc/apparmor.d/disable").stdout == ""


def test_enforced(host: Host) -> None:
    assert host.run("ls -A /etc/apparmor.d/force-complain").stdout == ""
