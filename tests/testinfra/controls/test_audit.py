# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role audit left: rules as they are loaded at boot, and a baseline."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]


def recorded(host: Host, key: str) -> bool:
    """Return whether a rule with *key* is among those that are loaded."""
    lines = host.check_output("cat /etc/audit/audit.rules").splitlines()
    return any(line.endswith((f"-k {key}", f"key={key}")) for line in lines)


def started(host: Host, link: str) -> bool:
    """Return whether the unit that *link*, below the units of the system, names is there."""
    return bool(host.run("grep -q '^\\[Unit\\]' %s", f"/etc/systemd/system/{link}").rc == 0)


def test_clock(host: Host) -> None:
    assert recorded(host, "time-change")


def test_accounts(host: Host) -> None:
    assert recorded(host, "identity")


def test_sudoers(host: Host) -> None:
    assert recorded(host, "scope")


def test_logins(host: Host) -> None:
    assert recorded(host, "logins")


def test_sessions(host: Host) -> None:
    assert recorded(host, "session")


def test_network_names(host: Host) -> None:
    assert recorded(host, "system-locale")


def test_apparmor(host: Host) -> None:
    assert recorded(host, "mac-policy")


def test_other_user(host: Host) -> None:
    assert recorded(host, "user-emulation")


def test_privileged(host: Host) -> None:
    assert recorded(host, "privileged")


def test_refused_access(host: Host) -> None:
    assert recorded(host, "access")


def test_permissions(host: Host) -> None:
    assert recorded(host, "perm-mod")


def test_deletions(host: Host) -> None:
    assert recorded(host, "delete")


def test_mounts(host: Host) -> None:
    assert recorded(host, "mounts")


def test_kernel_modules(host: Host) -> None:
    assert recorded(host, "kernel-modules")


def test_immutable(host: Host) -> None:
    lines = host.check_output("cat /etc/audit/audit.rules").split("\n")
    assert [line for line in lines if line.strip()][-1] == "-e 2"


def test_at_boot(host: Host) -> None:
    assert started(host, "multi-user.target.wants/auditd.service")


def test_log_size(host: Host) -> None:
    lines = host.check_output("cat /etc/audit/auditd.conf").splitlines()
    settings = dict(line.split(" = ") for line in lines)
    assert int(settings["max_log_file"]) > 0


def test_private(host: Host) -> None:
    found = host.check_output("find /etc/audit /var/log/audit -perm /o+rwx")
    assert found == ""


def test_aide(host: Host) -> None:
    assert host.run("test -s /var/lib/aide/aide.db -a -x /usr/bin/aide").rc == 0


def test_aide_compares(host: Host) -> None:
    assert started(host, "timers.target.wants/aidecheck.timer")


def test_aide_covers(host: Host) -> None:
    lines = host.check_output("cat /etc/aide/aide.conf").splitlines()
    assert {"/usr f Content", "/etc f Content"} <= set(lines)
    assert any(line.startswith("Content = ") and "sha256" in line for line in lines)
