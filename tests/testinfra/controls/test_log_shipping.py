# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role log_shipping left: a journal that is kept, and goes where it was said."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]


def settings(host: Host) -> dict[str, str]:
    """Return the settings of the journal."""
    lines = host.check_output("cat /etc/systemd/journald.conf").splitlines()
    return {name: value for name, _equals, value in (line.partition("=") for line in lines)}


def test_persistent(host: Host) -> None:
    assert settings(host)["Storage"] == "persistent"


def test_compressed(host: Host) -> None:
    assert settings(host)["Compress"] == "yes"


def test_limited(host: Host) -> None:
    assert settings(host)["SystemMaxUse"]


def test_rate_limited(host: Host) -> None:
    assert int(settings(host)["RateLimitBurst"]) > 0


def test_one_way_to_syslog(host: Host) -> None:
    there = host.run("test -x /usr/sbin/rsyslogd").rc == 0
    assert settings(host)["ForwardToSyslog"] == ("yes" if there else "no")


def test_not_received(host: Host) -> None:
    unit = "/etc/systemd/system/systemd-journal-remote.socket"
    assert host.run("readlink %s", unit).stdout.strip() == "/dev/null"
