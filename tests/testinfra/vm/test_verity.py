# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verified disk that is forged below a machine that runs. The last check: it does not live on."""

from __future__ import annotations

import mmap
import shlex
import subprocess
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.core.waiting import wait_for
from ansible_collections.kiln.immutable.tests.testinfra.vm.conftest import IMAGES
from ansible_collections.kiln.immutable.tests.testinfra.vm.instance import Instance
from testinfra.host import Host


def flip(disk: Path, content: bytes) -> None:
    """Change one bit of *content* where it lies on *disk*."""
    with disk.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as mapped:
        found = mapped.find(content)
        assert found >= 0
        mapped[found] ^= 1


def test_one_bit_of_the_root_that_was_changed_stops_the_machine_that_reads_it(
    host: Host, image: str, instance: Instance, life: str
) -> None:
    assert life  # asked before the machine stops, for the version that comes after it
    # Compressed already, so that erofs has it as it is.
    path = host.check_output("find /usr -xdev -name '*.gz' -size +24k | head -n 1")
    part = f"tail -c +8193 {shlex.quote(path)} | head -c 64 | od -An -v -tx1"
    content = bytes.fromhex("".join(host.check_output(part).split()))
    assert len(content) == 64

    flip(instance.disk(IMAGES / f"{image}.yml"), content)
    # A machine that stops does not say how the command ended.
    read = f"echo 3 | sudo tee /proc/sys/vm/drop_caches; sudo sha256sum {shlex.quote(path)}"
    ssh = ["ssh", "-F", str(instance.ssh_config), image]
    subprocess.run([*ssh, read], check=False, capture_output=True, timeout=300)
    wait_for("the machine to stop", lambda: None if instance.machine.runs else True, timeout=300)

    assert "dm-verity device corrupted" in instance.machine.console
    assert "Kernel panic" in instance.machine.console
