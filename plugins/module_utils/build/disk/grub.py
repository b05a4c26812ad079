# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GRUB for machines with a BIOS, placed without its installer, which wants a device. Pure.

The formats are those of GRUB 2.12: ``include/grub/i386/pc/boot.h`` and ``grub-core/boot/i386/pc``.
"""

from __future__ import annotations

import struct

from .boot_files import BootFiles

MODULES = ("biosdisk", "part_gpt", "ext2", "search_fs_uuid", "linux", "serial", "terminal", "echo")

_CODE_BYTES = 440
"""What of the first sector is code; a disk's signature and table come behind it."""
_CORE_SECTOR = 0x5C
_DRIVE = 0x64
_DRIVE_CHECK = 0x66
_NO_OPERATIONS = b"\x90\x90"
_FROM_BIOS = 0xFF
_FIRST_BLOCKS = 0x1F4


def config(files: BootFiles, root: str, command_line: str, console: str) -> str:
    """Return the commands that GRUB's core runs: find the root, load, boot; there is no menu.

    :param root: UUID of the file system with the kernel.
    """
    lines = [f"search.fs_uuid {root} root"]
    device, _comma, speed = console.partition(",")
    if device.startswith("ttyS"):
        rate = "".join(digit for digit in speed if digit.isdigit()) or "115200"
        lines.insert(0, f"serial --unit={device[4:]} --speed={rate}")
        lines.insert(1, "terminal_output serial console")
    lines += [f"linux /{files.kernel} {command_line}", f"initrd /{files.initrd}", "boot"]
    return "\n".join(lines) + "\n"


def placed_core(core: bytes, sector: int) -> bytes:
    """Return *core* as it must be to lie at *sector*: its first sector names the others."""
    patched = bytearray(core + bytes(-len(core) % 512))
    struct.pack_into("<Q", patched, _FIRST_BLOCKS, sector + 1)
    struct.pack_into("<H", patched, _FIRST_BLOCKS + 8, len(patched) // 512 - 1)
    return bytes(patched)


def placed_head(head: bytes, sector: int) -> bytes:
    """Return the code of the disk's first sector, which loads what lies at *sector*."""
    patched = bytearray(head)
    struct.pack_into("<Q", patched, _CORE_SECTOR, sector)
    patched[_DRIVE] = _FROM_BIOS
    # Only for floppy disks: a BIOS that gives the wrong number would be believed otherwise.
    patched[_DRIVE_CHECK : _DRIVE_CHECK + 2] = _NO_OPERATIONS
    return bytes(patched[:_CODE_BYTES])
