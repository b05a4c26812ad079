# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the parts of a disk lie, and what they are called."""

from __future__ import annotations

import uuid

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.identity import (
    Identity,
    verity_uuids,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.partitions import (
    ALIGNMENT,
    ESP,
    LINUX,
    ROOT,
    Part,
    plan_table,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from hypothesis import given
from hypothesis import strategies as st

MIB = 1 << 20
IDENTITY = Identity("sha256:" + "ab" * 32)
DISK = IDENTITY.uuid("disk")


def part(name: str, size: int, kind: uuid.UUID = LINUX) -> Part:
    return Part(name, kind, IDENTITY.uuid(name), size)


@given(st.lists(st.integers(1, 1 << 34), min_size=1, max_size=8))
def test_parts_lie_behind_each_other_on_boundaries_and_within_the_disk(sizes: list[int]) -> None:
    table = plan_table(DISK, [part(f"p{at}", size) for at, size in enumerate(sizes)], 0)
    end = ALIGNMENT

    for placed, size in zip(table.partitions, sizes, strict=True):
        assert placed.start == end
        assert placed.start % ALIGNMENT == 0
        assert placed.size >= size
        end = placed.start + placed.size
    # The second table takes the last 33 sectors.
    assert end + 33 * 512 <= table.size
    assert table.size % ALIGNMENT == 0


def test_what_is_left_goes_to_the_part_that_grows() -> None:
    table = plan_table(DISK, [part("root", 10 * MIB), part("state", MIB)], 64 * MIB, grows="state")

    assert table.size == 64 * MIB
    assert table.named("root").size == 10 * MIB
    assert table.named("state").size == 52 * MIB


def test_a_disk_that_is_too_small_is_refused_with_what_it_needs() -> None:
    with pytest.raises(DriverError, match=r"needs 102 MiB, and disk\.size is 64 MiB"):
        plan_table(DISK, [part("root", 100 * MIB)], 64 * MIB)


def test_the_script_names_each_partition() -> None:
    table = plan_table(
        DISK, [part("esp", 34 * MIB, ESP), part("root", 5 * MIB - 1, ROOT["amd64"])], 0
    )

    assert table.script.splitlines() == [
        "label: gpt",
        f"label-id: {str(DISK).upper()}",
        "unit: sectors",
        "",
        (
            "start=2048, size=69632, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, "
            f'uuid={str(IDENTITY.uuid("esp")).upper()}, name="esp"'
        ),
        (
            "start=71680, size=10240, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, "
            f'uuid={str(IDENTITY.uuid("root")).upper()}, name="root"'
        ),
    ]


def test_ids_come_from_the_image_and_the_part_alone() -> None:
    other = Identity("sha256:" + "cd" * 32)

    assert IDENTITY.uuid("root") == Identity(IDENTITY.seed).uuid("root")
    assert IDENTITY.uuid("root") != IDENTITY.uuid("state")
    assert IDENTITY.uuid("root") != other.uuid("root")
    assert IDENTITY.uuid("root").version == 8
    assert IDENTITY.uuid("root").variant == uuid.RFC_4122
    assert IDENTITY.volume_id("esp") != other.volume_id("esp")


def test_a_verified_root_is_named_by_its_hash() -> None:
    root, hashes = verity_uuids("0123456789abcdef0123456789abcdef" + "f" * 16 + "0" * 16)

    assert root == uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")
    assert hashes == uuid.UUID("ffffffff-ffff-ffff-0000-000000000000")
