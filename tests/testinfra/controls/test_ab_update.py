# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role ab_update left: versions that are signed, and a way back."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]

UNITS = "/etc/systemd/system"


def transfers(host: Host) -> dict[str, list[str]]:
    """Return the lines of each file that says how a part of a version is installed.

    There is none where nothing is to be installed: then nothing unsigned is either.
    """
    paths = host.run("find /usr/lib/sysupdate.d -name '*.transfer'").stdout.split()
    return {path: host.check_output(f"cat {path}").splitlines() for path in paths}


def test_versions_are_signed(host: Host) -> None:
    found = transfers(host)
    assert [path for path, lines in found.items() if "Verify=yes" not in lines] == []


def test_the_image_has_the_keys(host: Host) -> None:
    if transfers(host):
        keys = host.file("/etc/systemd/import-pubring.gpg")
        assert keys.is_file
        assert keys.size > 0
        assert (keys.user, keys.mode) == ("root", 0o644)


def test_what_runs_is_protected(host: Host) -> None:
    found = transfers(host)
    assert [path for path, lines in found.items() if "ProtectVersion=%A" not in lines] == []


def test_health_is_asked_for(host: Host) -> None:
    folder = f"{UNITS}/boot-complete.target.requires"
    wanted = set(host.check_output(f"ls {folder}").split())
    assert {"kiln-health.service", "systemd-boot-check-no-failures.service"} <= wanted
    assert host.file("/usr/lib/kiln/health").size > 0


def test_an_emergency_is_a_reboot(host: Host) -> None:
    drop_in = host.run(f"cat {UNITS}/emergency.service.d/60-kiln.conf").stdout.splitlines()
    assert "ExecStart=" in drop_in
    assert drop_in[-1].startswith("ExecStart=/bin/systemctl")
    assert drop_in[-1].endswith(" reboot")
