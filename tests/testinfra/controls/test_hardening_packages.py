# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role hardening_packages left: no needless package, and no way to change them."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]


def packages(host: Host) -> set[str]:
    """Return the names in dpkg's database."""
    lines = host.check_output("cat /var/lib/dpkg/status").splitlines()
    return {line.partition(": ")[2] for line in lines if line.startswith("Package: ")}


def test_no_clear_text_clients(host: Host) -> None:
    assert not packages(host) & {"telnet", "ftp", "rsh-client", "talk", "tnftp", "tftp-hpa"}


def test_no_unneeded_servers(host: Host) -> None:
    assert not packages(host) & {
        "telnetd",
        "rsh-server",
        "xinetd",
        "nis",
        "rpcbind",
        "avahi-daemon",
        "cups",
        "vsftpd",
        "squid",
        "snmpd",
    }


def test_dpkg_is_locked(host: Host) -> None:
    refused = host.run("dpkg --remove no-such-package")
    assert refused.rc != 0
    assert "This system is immutable" in refused.stderr


def test_apt_is_locked(host: Host) -> None:
    refused = host.run(
        "apt-get -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=- update"
    )
    assert refused.rc != 0
    assert "This system is immutable" in refused.stderr


def test_nothing_upgrades_by_itself(host: Host) -> None:
    lines = host.check_output("cat /etc/apt/apt.conf.d/60kiln-periodic").splitlines()
    assert 'APT::Periodic::Unattended-Upgrade "0";' in lines
    assert 'APT::Periodic::Enable "0";' in lines
    assert "unattended-upgrades" not in packages(host)


def test_timers_of_apt_are_masked(host: Host) -> None:
    for name in ("apt-daily", "apt-daily-upgrade"):
        assert host.check_output(f"readlink /etc/systemd/system/{name}.timer") == "/dev/null"
