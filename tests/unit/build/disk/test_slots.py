# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two versions on one disk: what their parts are called, and the room that they get."""

from __future__ import annotations

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    DiskSlots,
    DiskSpec,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.boot_files import (
    command_line,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.identity import Identity
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.partitions import (
    ROOT,
    ROOT_VERITY,
    Part,
    plan_table,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.slots import (
    Release,
    room_of_esp,
    room_of_root,
    room_of_verity,
    slot_parts,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from hypothesis import given
from hypothesis import strategies as st

MIB = 1 << 20
IDENTITY = Identity("sha256:" + "ab" * 32)
WEB = Release("web", "1.0.3")


def test_a_version_is_named_as_the_boot_loader_and_sysupdate_read_it() -> None:
    assert WEB.label == "web_1.0.3"
    assert WEB.kernel(3) == "web_1.0.3+3.efi"


def test_a_label_that_no_partition_can_have_is_refused() -> None:
    with pytest.raises(DriverError, match="is too long for the label of a partition"):
        Release("a-name-of-an-image-that-is-long", "1.0.100").label  # noqa: B018 (it is asked for)


def test_the_system_says_which_version_it_is_and_once() -> None:
    before = b'ID=debian\nIMAGE_ID=other\nIMAGE_VERSION="1"\nNAME="Debian"'

    assert WEB.named_in(before).decode().splitlines() == [
        "ID=debian",
        'NAME="Debian"',
        "IMAGE_ID=web",
        "IMAGE_VERSION=1.0.3",
    ]
    assert WEB.named_in(WEB.named_in(before)) == WEB.named_in(before)


def test_the_second_slot_is_empty_of_the_same_kind_and_size() -> None:
    root = Part("root", ROOT["amd64"], IDENTITY.uuid("r"), 48 * MIB)
    verity = Part("verity", ROOT_VERITY["amd64"], IDENTITY.uuid("v"), MIB)

    parts = slot_parts(IDENTITY, "amd64", root, verity, WEB)

    assert [(one.label, one.type, one.size, one.blank) for one in parts] == [
        ("web_1.0.3", ROOT["amd64"], 48 * MIB, False),
        ("web_1.0.3", ROOT_VERITY["amd64"], MIB, False),
        ("_empty", ROOT["amd64"], 48 * MIB, True),
        ("_empty", ROOT_VERITY["amd64"], MIB, True),
    ]
    assert parts[0].id == root.id
    assert len({one.id for one in parts}) == 4


def test_the_table_bears_the_labels() -> None:
    root = Part("root", ROOT["amd64"], IDENTITY.uuid("r"), 48 * MIB)
    table = plan_table(IDENTITY.uuid("d"), slot_parts(IDENTITY, "amd64", root, root, WEB), 0)

    assert [line.rpartition("name=")[2] for line in table.script.splitlines()[4:]] == [
        '"web_1.0.3"',
        '"web_1.0.3"',
        '"_empty"',
        '"_empty"',
    ]


def test_a_slot_has_headroom_unless_its_size_is_given() -> None:
    assert room_of_root(DiskSlots(), 100 * MIB) == 160 * MIB
    assert room_of_root(DiskSlots(size=200 * MIB), 100 * MIB) == 200 * MIB


def test_a_root_that_does_not_fit_its_slot_is_refused() -> None:
    with pytest.raises(DriverError, match=r"needs 101 MiB, and disk\.slots\.size is 64 MiB"):
        room_of_root(DiskSlots(size=64 * MIB), 100 * MIB + 1)


@given(st.integers(1, 1 << 36))
def test_the_hashes_of_a_whole_slot_have_room(root: int) -> None:
    # The specification's tree, counted level by level from the leaves.
    level, blocks = -(-root // 4096), 1
    while level > 1:
        level = -(-level // 128)
        blocks += level

    assert blocks * 4096 <= room_of_verity(root) < blocks * 4096 + MIB


def test_two_kernels_and_the_boot_loader_fit() -> None:
    kernel, loader = 40 * MIB, MIB // 8

    assert room_of_esp(DiskSlots(), kernel, loader) > 3 * kernel + loader
    assert room_of_esp(DiskSlots(esp=256 * MIB), kernel, loader) == 256 * MIB
    with pytest.raises(DriverError, match=r"Two kernels need .* and disk\.slots\.esp is 64 MiB"):
        room_of_esp(DiskSlots(esp=64 * MIB), kernel, loader)


def test_a_boot_that_fails_is_tried_again_where_there_is_another_version() -> None:
    one, two = (
        command_line(DiskSpec(("raw",), slots=slots), [], {}).split()
        for slots in (None, DiskSlots())
    )

    assert "rd.emergency=poweroff" in one
    assert "rd.emergency=reboot" in two
    assert "rd.shell=0" in two
