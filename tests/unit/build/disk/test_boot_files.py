# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What boots an image: its newest kernel, the initrd of that, and the words for the kernel."""

from __future__ import annotations

import struct

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    DiskSpec,
    DiskState,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk import grub
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.boot_files import (
    command_line,
    find_boot_files,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

OLD, NEW = "6.1.0-9-cloud-amd64", "6.1.0-41-cloud-amd64"
PATHS = (
    f"boot/vmlinuz-{OLD}",
    f"boot/initrd.img-{OLD}",
    f"boot/vmlinuz-{NEW}",
    f"boot/initrd.img-{NEW}",
    "etc/kernel/cmdline.d/60-b.conf",
    "etc/kernel/cmdline.d/50-a.conf",
    "etc/kernel/cmdline.d/README",
    "usr/lib/os-release",
)
ROOT = ["roothash=00"]


def test_the_newest_kernel_counts_by_number() -> None:
    files = find_boot_files(PATHS, "web")

    assert files.release == NEW
    assert files.kernel == f"boot/vmlinuz-{NEW}"
    assert files.initrd == f"boot/initrd.img-{NEW}"
    assert files.options == ("etc/kernel/cmdline.d/50-a.conf", "etc/kernel/cmdline.d/60-b.conf")


def test_an_image_without_a_kernel_is_no_disk() -> None:
    with pytest.raises(DriverError, match="web has no kernel"):
        find_boot_files(("etc/passwd",), "web")


def test_a_kernel_without_an_initrd_is_told_of() -> None:
    with pytest.raises(DriverError, match=f"web has the kernel {NEW} and no /boot/initrd"):
        find_boot_files(PATHS[:3], "web")


def test_the_command_line_has_the_root_first_and_the_definition_s_words_last() -> None:
    spec = DiskSpec(("raw",), state=DiskState(), command_line=("quiet",))
    options = {"b": b"apparmor=1\n", "a": b"# a note\nslab_nomerge  pti=on # why\n"}

    assert command_line(spec, ROOT, options).split() == [
        "roothash=00",
        "ro",
        "rd.shell=0",
        "rd.emergency=poweroff",
        "panic=10",
        "systemd.gpt_auto=no",
        "kiln.state=LABEL=kiln-state",
        "slab_nomerge",
        "pti=on",
        "apparmor=1",
        "console=tty0",
        "console=ttyS0,115200",
        "quiet",
    ]


def test_a_root_that_may_be_written_is_mounted_so_and_left_alone() -> None:
    said = command_line(DiskSpec(("raw",), root="ext4", writable=True), ROOT, {}).split()

    assert said[1:3] == ["rw", "kiln.root=writable"]
    assert "ro" not in said
    assert "systemd.gpt_auto=no" not in said


def test_state_on_a_disk_of_its_own_is_named_to_the_initrd() -> None:
    spec = DiskSpec(("raw",), state=DiskState(device="/dev/vdb"), console="")

    assert command_line(spec, ROOT, {}).endswith(" kiln.state=/dev/vdb")


def test_without_state_or_console_nothing_is_said_of_them() -> None:
    said = command_line(DiskSpec(("raw",), console=""), ROOT, {})

    assert "kiln.state" not in said
    assert "console" not in said


def test_grub_s_first_sector_loads_where_the_core_lies() -> None:
    head = grub.placed_head(bytes(range(256)) * 2, 2048)

    # The table of partitions, and the disk's signature before it, are not GRUB's.
    assert len(head) == 440
    assert struct.unpack_from("<Q", head, 0x5C) == (2048,)
    assert head[0x66:0x68] == b"\x90\x90"


def test_grub_s_core_names_its_other_sectors() -> None:
    core = grub.placed_core(bytes(512 * 3 + 1), 2048)

    assert len(core) == 4 * 512
    assert struct.unpack_from("<QH", core, 0x1F4) == (2049, 3)


def test_grub_finds_the_root_by_its_id_and_speaks_on_the_console() -> None:
    config = grub.config(find_boot_files(PATHS, "web"), "the-id", "ro quiet", "ttyS1,9600")

    assert config.splitlines() == [
        "serial --unit=1 --speed=9600",
        "terminal_output serial console",
        "search.fs_uuid the-id root",
        f"linux /boot/vmlinuz-{NEW} ro quiet",
        f"initrd /boot/initrd.img-{NEW}",
        "boot",
    ]
