# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sealed root must not hold."""

from __future__ import annotations

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.residue import (
    SEALED,
    Matcher,
    Treatment,
)
from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]

FIND = "find / -xdev"


def test_no_python_is_left(host: Host) -> None:
    assert host.check_output(f"{FIND} -name 'python3*'") == ""


def test_no_file_is_left_that_the_seal_takes_away(host: Host) -> None:
    # What is newer than the container was written by another check, not by the bake.
    old = "-type f ! -newer /etc/hostname"
    found = host.check_output(f"{FIND} {old} -printf '%s %P\\n'").splitlines()
    match = Matcher.of(SEALED)
    left = []
    for line in found:
        size, _space, path = line.partition(" ")
        residue = match(path)
        if residue is None or (residue.treatment is Treatment.EMPTY and size == "0"):
            continue
        left.append(path)
    assert found
    assert left == []


@pytest.mark.parametrize("path", ["/root/.ansible", "/root/.cache", "/usr/sbin/policy-rc.d"])
def test_no_build_tool_left_a_trace(host: Host, path: str) -> None:
    assert host.run(f"test -e {path}").rc == 1


def test_the_machine_has_no_identity_yet(host: Host) -> None:
    assert host.run("test -s /etc/machine-id").rc == 1


def test_directories_that_packages_made_are_there(host: Host) -> None:
    assert host.check_output("stat -c '%U %a' /var/log /var/lib/apt/lists /var/cache/apt") == (
        "root 755\nroot 755\nroot 755"
    )
