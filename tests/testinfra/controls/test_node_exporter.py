# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role node_exporter left: an exporter without rights, on loopback."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]

SANDBOX = "/etc/systemd/system/prometheus-node-exporter.service.d/60-kiln.conf"


def settings(host: Host) -> dict[str, str]:
    """Return the settings of the drop-in of the exporter's unit."""
    lines = host.check_output("cat %s", SANDBOX).splitlines()
    return {name: value for name, _equals, value in (line.partition("=") for line in lines)}


def test_loopback(host: Host) -> None:
    line = host.check_output("cat /etc/default/prometheus-node-exporter")
    assert "--web.listen-address=127.0.0.1:" in line


def test_unprivileged(host: Host) -> None:
    found = settings(host)
    assert (found["User"], found["CapabilityBoundingSet"]) == ("prometheus", "")


def test_sandbox(host: Host) -> None:
    assert settings(host)["ProtectSystem"] == "strict"


def test_no_new_rights(host: Host) -> None:
    assert settings(host)["NoNewPrivileges"] == "yes"
