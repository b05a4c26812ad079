# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the initrd's first program makes of names, tried without a machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.identity import verity_uuids

# A program whose only trace is what it was asked.
ECHO = 'echo "%s" "$@" >> "$said"\n'


@pytest.fixture
def functions(checkout: Path, tmp_path: Path) -> str:
    """Return the program's functions, for which others are only names that note their words."""
    program = (checkout / "roles" / "boot" / "files" / "init").read_text()
    head, found, _rest = program.partition("at_failure=poweroff\n")
    assert found
    for name in ("findfs", "udevadm", "modprobe"):
        head += f"{name}() {{ {ECHO % name}}}\n"
    return head + f"said={tmp_path}/said\n: > $said\nstart_udev() {{ echo udev >> $said; }}\n"


def ask(functions: str, call: str) -> tuple[int, str]:
    """Return how *call* ends, and what it printed."""
    done = subprocess.run(
        ["sh", "-c", functions + call], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout.strip()


def test_the_halves_of_a_root_hash_are_the_ids_that_the_disk_was_given(functions: str) -> None:
    root_hash = "".join(f"{number:02x}" for number in range(7, 39))
    halves = (root_hash[:32], root_hash[32:])

    found = [ask(functions, f"part_of {half}")[1] for half in halves]

    assert found == [f"PARTUUID={one}" for one in verity_uuids(root_hash)]


def test_labels_and_ids_are_asked_for_by_themselves(functions: str) -> None:
    assert ask(functions, 'device_of LABEL=kiln-state; cat "$said"') == (
        0,
        "findfs LABEL=kiln-state",
    )


def test_a_link_of_udev_s_is_waited_for_by_starting_it(functions: str) -> None:
    call = 'device_of "/dev/disk/by-id/virtio-a=b" || echo "not there"; cat "$said"'

    assert ask(functions, call) == (0, "not there\nudev")


def test_a_device_that_is_there_needs_no_udev(functions: str) -> None:
    assert ask(functions, 'device_of /dev/nothing || echo "not there"; cat "$said"') == (
        0,
        "not there",
    )
