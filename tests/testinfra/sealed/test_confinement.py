# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container from a sealed image may do: nothing but its service."""

from __future__ import annotations

from testinfra.host import Host


def status(host: Host, name: str) -> str:
    """Return the field *name* of the first process's status."""
    line: str = host.check_output(f"grep ^{name}: /proc/1/status")
    return line.partition(":")[2].strip()


def test_the_service_is_no_root(host: Host) -> None:
    assert "0" not in status(host, "Uid").split()
    assert "0" not in status(host, "Gid").split()


def test_the_service_has_no_capability(host: Host) -> None:
    assert int(status(host, "CapEff"), 16) == 0
    assert int(status(host, "CapBnd"), 16) == 0


def test_the_service_can_gain_no_privilege(host: Host) -> None:
    assert status(host, "NoNewPrivs") == "1"


def test_the_root_is_read_only(host: Host) -> None:
    mounts = [line.split() for line in host.check_output("cat /proc/1/mounts").splitlines()]
    options = [fields[3].split(",") for fields in mounts if fields[1] == "/"]
    assert options
    assert all("ro" in each for each in options)
