# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The partition table of a disk: where each part begins and how long it is. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from ...core.errors import DriverError

SECTOR = 512
ALIGNMENT = 1 << 20
_TAIL = 1 << 20
"""Behind the last partition: the second partition table, and room up to the next boundary."""

# https://uapi-group.org/specifications/specs/discoverable_partitions_specification/
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
ROOT = {
    "amd64": uuid.UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
    "arm64": uuid.UUID("b921b045-1df0-41c3-af44-4c6f280d3fae"),
}
ROOT_VERITY = {
    "amd64": uuid.UUID("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
    "arm64": uuid.UUID("df3300ce-d69f-4c92-978c-9bfb0f38d820"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A partition that is to be: what it is and how many bytes it holds.

    :param name: by which it is found here; it is its label too, unless that is another.
    :param blank: whether the disk is made with nothing in it.
    """

    name: str
    type: uuid.UUID
    id: uuid.UUID
    size: int
    label: str = ""
    blank: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """A partition with its place, in bytes from the beginning of the disk."""

    part: Part
    start: int
    size: int

    @property
    def first_sector(self) -> int:
        """Where it begins, in sectors."""
        return self.start // SECTOR


@dataclass(frozen=True, slots=True)
class Table:
    """A GPT: its id, the bytes of the whole disk, and the partitions in their order."""

    id: uuid.UUID
    size: int
    partitions: tuple[Placed, ...]

    def named(self, name: str) -> Placed:
        """Return the partition of that name."""
        return next(one for one in self.partitions if one.part.name == name)

    @property
    def script(self) -> str:
        """The table as sfdisk(8) reads it."""
        lines = ["label: gpt", f"label-id: {str(self.id).upper()}", "unit: sectors", ""]
        lines += [
            f"start={one.first_sector}, size={one.size // SECTOR}, "
            f"type={str(one.part.type).upper()}, uuid={str(one.part.id).upper()}, "
            f'name="{one.part.label or one.part.name}"'
            for one in self.partitions
        ]
        return "\n".join(lines) + "\n"


def round_up(size: int, unit: int = ALIGNMENT) -> int:
    """Return the least multiple of *unit* that is not below *size*."""
    return -(-size // unit) * unit


def plan_table(identity: uuid.UUID, parts: Sequence[Part], size: int, *, grows: str = "") -> Table:
    """Place *parts* one behind the other, each on a boundary of a mebibyte.

    :param size: bytes of the disk that was asked for; 0 for as many as it takes.
    :param grows: name of the partition that gets what is left; it must be the last one.

    Raises DriverError when they need more than *size*.
    """
    placed = []
    at = ALIGNMENT
    for part in parts:
        length = round_up(part.size)
        placed.append(Placed(part, at, length))
        at += length
    needed = at + _TAIL
    if size and needed > size:
        raise DriverError(
            f"The disk needs {needed >> 20} MiB, and disk.size is {size >> 20} MiB.",
            hint="Ask for more, or leave disk.size out: then the disk is as large as it must be.",
        )
    if grows and size:
        last = placed[-1]
        if last.part.name != grows:
            raise ValueError(f"{grows} is not the last partition")
        placed[-1] = Placed(
            last.part, last.start, last.size + (size - needed) // ALIGNMENT * ALIGNMENT
        )
    return Table(identity, round_up(size or needed), tuple(placed))
