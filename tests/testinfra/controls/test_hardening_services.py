# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role hardening_services left: sandboxes, masked units, and who may schedule."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]

UNITS = "/etc/systemd/system"
FOLDERS = "/etc/cron.d /etc/cron.hourly /etc/cron.daily /etc/cron.weekly /etc/cron.monthly"


def sandbox(host: Host, unit: str) -> dict[str, str]:
    """Return the settings of the drop-in that confines *unit*."""
    lines = host.check_output("cat %s", f"{UNITS}/{unit}.d/50-kiln-sandbox.conf").splitlines()
    return {name: value for name, _equals, value in (line.partition("=") for line in lines)}


def masked(host: Host, unit: str) -> bool:
    return bool(host.run("readlink %s", f"{UNITS}/{unit}").stdout.strip() == "/dev/null")


def only_root(host: Host, path: str) -> bool:
    """Return whether *path* lists root alone, and only root may change it."""
    status = host.check_output("stat -c '%%a %%U %%G' %s", path)
    return (host.check_output("cat %s", path), status) == ("root", "640 root root")


def test_sandbox_ssh(host: Host) -> None:
    assert sandbox(host, "ssh.service")["ProtectKernelModules"] == "yes"


def test_sandbox_cron(host: Host) -> None:
    assert sandbox(host, "cron.service")["ProtectKernelModules"] == "yes"


def test_sandbox_nginx(host: Host) -> None:
    assert sandbox(host, "nginx.service")["ProtectSystem"] == "full"


def test_sandbox_postgresql(host: Host) -> None:
    assert sandbox(host, "postgresql@.service")["ProtectSystem"] == "full"


def test_sandbox_rsyslog(host: Host) -> None:
    assert sandbox(host, "rsyslog.service")["NoNewPrivileges"] == "yes"


def test_sandbox_chrony(host: Host) -> None:
    assert sandbox(host, "chrony.service")["ProtectSystem"] == "strict"


def test_masked(host: Host) -> None:
    units = ("autofs", "avahi-daemon", "bluetooth", "cups", "nfs-server", "rpcbind", "rsync")
    assert [unit for unit in units if not masked(host, f"{unit}.service")] == []


def test_no_reboot_by_keys(host: Host) -> None:
    assert masked(host, "ctrl-alt-del.target")


def test_no_debug_shell(host: Host) -> None:
    assert masked(host, "debug-shell.service")


def test_cron_users(host: Host) -> None:
    assert only_root(host, "/etc/cron.allow")


def test_cron_no_deny(host: Host) -> None:
    assert host.run("test -e /etc/cron.deny").rc == 1


def test_at_users(host: Host) -> None:
    assert only_root(host, "/etc/at.allow")


def test_at_no_deny(host: Host) -> None:
    assert host.run("test -e /etc/at.deny").rc == 1


def test_cron_private(host: Host) -> None:
    # Some of them come with cron alone.
    found = host.run(f"stat -c '%a %U %n' {FOLDERS}").stdout.splitlines()
    assert found
    assert {line.rpartition(" ")[0] for line in found} == {"700 root"}
