# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""seal on a container where Ansible itself ran in the Python that goes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

SEAL = {"roles": [{"role": "kiln.immutable.seal", "seal_build_user": "builder"}]}

LEAVE_TRACES = """
set -e
useradd --create-home builder
mkdir -p /etc/ssh /etc/sudoers.d /var/tmp/work/deep /var/log/app
echo 'builder ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/builder
echo key >/etc/ssh/ssh_host_ed25519_key
echo id >/etc/machine-id
echo ls >/root/.bash_history
echo line >/var/log/app/app.log
chown www-data:adm /var/log/app/app.log
"""

NEEDS_PYTHON = """
set -e
mkdir -p /var/tmp/wanted/DEBIAN
cat >/var/tmp/wanted/DEBIAN/control <<'END'
Package: wanted
Version: 1
Architecture: all
Maintainer: nobody <nobody@example.org>
Depends: python3
Description: needs Python
END
dpkg-deb --build /var/tmp/wanted /var/tmp/wanted.deb
dpkg --install /var/tmp/wanted.deb
"""


@pytest.fixture
def container(start_container: Any) -> Iterator[str]:
    """Return a container that holds what builds leave behind."""
    with start_container() as name:
        inside(name, LEAVE_TRACES)
        yield name


def inside(container: str, script: str) -> str:
    """Run *script* in *container* and return what it printed."""
    argv = ["docker", "exec", container, "bash", "-c", script]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("pipelining", ["0", "1"], ids=["files", "pipelining"])
def test_nothing_of_the_build_is_left(playbook: Any, container: str, pipelining: str) -> None:
    arguments = ("-e", f"ansible_pipelining={pipelining}")
    outcome = playbook.under_molecule(container, SEAL, *arguments)
    assert outcome.status == 0, outcome.text
    assert inside(container, "find / -xdev -name 'python3*'") == ""
    assert inside(container, "find / -xdev -name '*.pyc'") == ""
    assert inside(container, "find /tmp /var/tmp -mindepth 1") == ""
    assert inside(container, "ls -A /root | xargs") == ".bashrc .profile"
    assert inside(container, "find /var/lib/apt/lists /var/cache/apt -type f") == ""
    assert inside(container, "find /var/log -type f -size +0") == ""
    assert inside(container, "stat -c '%U %G %s' /var/log/app/app.log") == "www-data adm 0"
    assert inside(container, "stat -c %s /etc/machine-id") == "0"
    assert inside(container, "find /etc/ssh /home /etc/sudoers.d -mindepth 1") == ""
    assert inside(container, "getent passwd builder || true") == ""
    assert inside(container, "dpkg --audit") == ""


def test_check_mode_says_what_would_go_and_takes_nothing(playbook: Any, container: str) -> None:
    count = "find / -xdev -type f | sort"
    before = inside(container, count)
    outcome = playbook.under_molecule(container, SEAL, "--check", "--diff")
    assert outcome.status == 0, outcome.text
    for line in ("-root/.bash_history: shell history", "-package python3", "-account builder"):
        assert line in outcome.text
    assert inside(container, count) == before


def test_a_package_that_needs_python_is_named_and_nothing_goes(
    playbook: Any, container: str
) -> None:
    inside(container, NEEDS_PYTHON)
    outcome = playbook.under_molecule(container, SEAL)
    assert outcome.status != 0
    assert "Python cannot be removed because wanted needs it. Set seal_python to keep" in (
        outcome.text
    )
    assert inside(container, "cat /root/.bash_history") == "ls"


def test_a_kept_python_still_runs_and_a_second_seal_changes_nothing(
    playbook: Any, container: str
) -> None:
    keep = {"roles": [{"role": "kiln.immutable.seal", "seal_python": "keep"}]}
    assert playbook.under_molecule(container, keep).status == 0
    assert inside(container, "python3 -c 'import json, apt; print(json.dumps(1))'") == "1"
    outcome = playbook.under_molecule(container, keep)
    assert (outcome.status, "changed=0" in outcome.text) == (0, True), outcome.text
