# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two versions on one disk: what their partitions, kernels and files are called, and how much room
they get. Pure.

What reads the names is systemd-sysupdate, by the transfer files of the role ``ab_update``, and
systemd-boot, which counts in them how often a version was tried (Boot Loader Specification,
"Boot counting").
"""

from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import DriverError
from ..definition_model import DiskSlots
from .identity import Identity
from .partitions import ROOT, ROOT_VERITY, Part, round_up

FORMAT = "sysupdate"
PARTS = {"root": "root.img", "verity": "verity.img", "efi": "kernel.efi"}
"""What a version is installed from, each a format of its own in the store; and its file on the
workbench."""

EMPTY_LABEL = "_empty"
LOADER = "/usr/lib/systemd/boot/efi/systemd-boot{machine}.efi"
LOADER_CONFIG = b"# Nobody sits at the console.\ntimeout 0\neditor no\nauto-firmware no\n"

_MIB = 1 << 20
# Below this FAT is not of 32 bits.
_LEAST_ESP = 34 * _MIB
_BLOCK = 4096
_DIGESTS_IN_BLOCK = 128
_LABEL_LENGTH = 36


@dataclass(frozen=True, slots=True)
class Release:
    """A version as machines know it that hold two of them.

    :param name: of the image, IMAGE_ID in its os-release(5).
    :param version: its number, IMAGE_VERSION there.
    """

    name: str
    version: str

    @property
    def label(self) -> str:
        """The label of its partitions; DriverError when no label can be as long."""
        label = f"{self.name}_{self.version}"
        if len(label) > _LABEL_LENGTH:
            raise DriverError(
                f"{label} is too long for the label of a partition, which has {_LABEL_LENGTH}"
                " characters.",
                hint="Give the image a shorter name.",
            )
        return label

    def kernel(self, tries: int) -> str:
        """The name of its kernel in the EFI system partition, with *tries* that are left."""
        return f"{self.label}+{tries}.efi"

    def named_in(self, os_release: bytes) -> bytes:
        """Return *os_release* with what tells this version from others."""
        ours = (b"IMAGE_ID=", b"IMAGE_VERSION=")
        lines = [line for line in os_release.splitlines() if not line.startswith(ours)]
        lines += [f"IMAGE_ID={self.name}".encode(), f"IMAGE_VERSION={self.version}".encode()]
        return b"\n".join(lines) + b"\n"


def room_of_root(slots: DiskSlots, needed: int) -> int:
    """Return the bytes of each slot's root; DriverError when *needed* are more."""
    if slots.size and slots.size < needed:
        raise DriverError(
            f"The root needs {round_up(needed) >> 20} MiB, and disk.slots.size is"
            f" {slots.size >> 20} MiB.",
            hint="Ask for more, with room for versions to come.",
        )
    return slots.size or round_up(needed + needed // 2, 16 * _MIB)


def room_of_verity(root: int) -> int:
    """Return the bytes that the hashes of a root of *root* bytes take (dm-verity, version 1)."""
    blocks = -(-root // _BLOCK)
    total = 1  # the superblock
    while blocks > 1:
        blocks = -(-blocks // _DIGESTS_IN_BLOCK)
        total += blocks
    return round_up(total * _BLOCK)


def room_of_esp(slots: DiskSlots, kernel: int, loader: int) -> int:
    """Return the bytes of the EFI system partition; DriverError when two kernels do not fit.

    :param kernel: bytes of the first version's kernel.
    """
    least = _with_tables(2 * kernel + loader)
    if slots.esp and slots.esp < least:
        raise DriverError(
            f"Two kernels need {least >> 20} MiB, and disk.slots.esp is {slots.esp >> 20} MiB.",
            hint="Ask for more, with room for versions to come.",
        )
    return slots.esp or _with_tables(3 * kernel + loader)


def _with_tables(content: int) -> int:
    return max(_LEAST_ESP, round_up(content + content // 32 + 2 * _MIB))


def slot_parts(
    identity: Identity, architecture: str, root: Part, verity: Part, release: Release
) -> list[Part]:
    """Return *root* and *verity* as the first slot, and an empty second one of the same sizes."""
    return [
        Part("root", root.type, root.id, root.size, release.label),
        Part("verity", verity.type, verity.id, verity.size, release.label),
        Part(
            "root-b",
            ROOT[architecture],
            identity.uuid("root-b"),
            root.size,
            EMPTY_LABEL,
            blank=True,
        ),
        Part(
            "verity-b",
            ROOT_VERITY[architecture],
            identity.uuid("verity-b"),
            verity.size,
            EMPTY_LABEL,
            blank=True,
        ),
    ]
