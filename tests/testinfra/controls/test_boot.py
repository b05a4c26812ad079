# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role boot left: a boot that fails closed, of a root that nothing changes."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]


def lines(host: Host, path: str) -> list[str]:
    found: list[str] = host.check_output(f"cat {path}").splitlines()
    return found


def test_nothing_of_dracut_starts_a_shell(host: Host) -> None:
    # Its own modules have hooks that end in an emergency shell.
    assert 'dracutmodules="kiln"' in lines(host, "/etc/dracut.conf.d/60-kiln.conf")
    assert host.run("grep -nE '(^|[^/a-z])(sulogin|ash|bash|setsid)' %s", _INIT).rc == 1


def test_systemd_leaves_the_verified_root_alone(host: Host) -> None:
    assert "systemd.verity=no" in lines(host, "/etc/kernel/cmdline.d/40-kiln-boot.conf")


def test_no_timer_asks_for_packages(host: Host) -> None:
    for timer in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        unit = f"/etc/systemd/system/{timer}"
        assert host.run("readlink %s", unit).stdout.strip() == "/dev/null", timer


_INIT = "/usr/lib/dracut/modules.d/99kiln/init"
