# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role state saw to: nothing is left open."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]


def test_nothing_else_writable(host: Host) -> None:
    found = host.check_output("find / -xdev ! -type l -perm -0002 ! -path '/var/tmp*'")
    memory = ("/tmp", "/run")
    assert [path for path in found.splitlines() if not path.startswith(memory)] == []
