# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The next version on the machine whose disk was forged: another root above the same state.

It is ext4 where the first one is erofs, of another format, and the disk of its state is larger.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.kiln.immutable.tests.testinfra.container_shell import open_host
from ansible_collections.kiln.immutable.tests.testinfra.vm.conftest import IDENTITY, IMAGES
from ansible_collections.kiln.immutable.tests.testinfra.vm.instance import STATE_BYTES, Instance
from testinfra.host import Host

NEXT = IMAGES / "vm-next.yml"
GROWN = 2 * STATE_BYTES


@pytest.fixture(scope="module")
def successor(life: str, instance: Instance) -> Iterator[Host]:
    """Boot the next version on the state that the first one left when it stopped."""
    assert life
    instance.boot(NEXT, state_bytes=GROWN)
    shell = ["ssh", "-F", str(instance.ssh_config), NEXT.stem, "sudo", "/bin/sh"]
    host = open_host(NEXT.stem, shell)
    yield host
    host.backend.close()


def test_the_next_version_has_the_state_and_the_identity_of_the_one_before(
    life: str, successor: Host
) -> None:
    assert successor.check_output("cat /var/lib/kept/note") == "first"
    assert successor.check_output(IDENTITY) == life


def test_what_was_written_elsewhere_is_gone_with_the_version_before(successor: Host) -> None:
    assert successor.check_output("ls /etc/note /var/note /home/note 2>/dev/null; true") == ""


def test_a_plain_root_that_the_firmware_starts_is_read_only_too(successor: Host) -> None:
    kind, options = successor.check_output("findmnt -n -o FSTYPE,OPTIONS /").split()

    assert kind == "ext4"
    assert "ro" in options.split(",")
    assert successor.run("test -d /sys/firmware/efi").rc == 0
    assert successor.run("touch /usr/forged").rc != 0


def test_the_state_has_grown_with_its_disk(successor: Host) -> None:
    blocks, size = successor.check_output("stat -f -c '%b %S' /var/lib/kept").split()

    assert int(blocks) * int(size) > GROWN * 3 // 4


def test_every_unit_is_well_in_the_next_version(successor: Host) -> None:
    assert successor.check_output("systemctl list-units --state=failed --plain --no-legend") == ""
