# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role time_sync left: chrony, a client alone."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]


def settings(host: Host) -> dict[str, str]:
    """Return the directives of chrony's configuration, the last of each name."""
    lines = host.check_output("cat /etc/chrony/chrony.conf").splitlines()
    pairs = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _space, value in pairs}


def test_chrony(host: Host) -> None:
    link = "/etc/systemd/system/multi-user.target.wants/chrony.service"
    assert "chronyd" in host.run("cat %s", link).stdout


def test_sources(host: Host) -> None:
    assert {"server", "pool"} & set(settings(host))


def test_unprivileged(host: Host) -> None:
    assert settings(host)["user"] == "_chrony"


def test_no_server(host: Host) -> None:
    assert settings(host)["port"] == "0"


def test_no_remote_control(host: Host) -> None:
    assert settings(host)["cmdport"] == "0"


def test_only_one(host: Host) -> None:
    unit = "/etc/systemd/system/systemd-timesyncd.service"
    assert host.run("readlink %s", unit).stdout.strip() == "/dev/null"
