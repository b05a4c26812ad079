# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role firewall left: a ruleset that drops, loaded at boot."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]


def chain(host: Host, hook: str) -> list[str]:
    """Return the lines of the base chain of *hook*, the first with its policy."""
    lines = [line.strip() for line in host.check_output("cat /etc/nftables.conf").splitlines()]
    start = next(i for i, line in enumerate(lines) if f"hook {hook} " in line)
    return lines[start : lines.index("}", start)]


def test_default_drop(host: Host) -> None:
    assert "policy drop;" in chain(host, "input")[0]


def test_no_forwarding(host: Host) -> None:
    assert "policy drop;" in chain(host, "forward")[0]


def test_loopback(host: Host) -> None:
    found = chain(host, "input")
    assert found.index('iif "lo" accept') < found.index("ip saddr 127.0.0.0/8 counter drop")


def test_loopback_six(host: Host) -> None:
    found = chain(host, "input")
    assert found.index('iif "lo" accept') < found.index("ip6 saddr ::1 counter drop")


def test_stateful(host: Host) -> None:
    assert {"ct state established,related accept", "ct state invalid drop"} <= set(
        chain(host, "input")
    )


def test_at_boot(host: Host) -> None:
    link = "/etc/systemd/system/sysinit.target.wants/nftables.service"
    assert "nft -f /etc/nftables.conf" in host.run("cat %s", link).stdout


def test_installed(host: Host) -> None:
    assert host.run("test -x /usr/sbin/nft -a ! -e /usr/sbin/ufw").rc == 0
