# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which firmware starts a disk, as its partition table says. Pure."""

from __future__ import annotations

import struct
import uuid

from ..core.errors import DriverError

HEAD = 1 << 20
"""Bytes from the beginning of a disk that hold its table."""

_ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
_BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
_SECTOR = 512


def starts_by_uefi(head: bytes) -> bool:
    """Whether a disk that begins with *head* is started by UEFI, else it is by a BIOS.

    DriverError when it is a disk that neither would start (UEFI 2.10, section 5.3).
    """
    kinds = _kinds(head)
    if _ESP in kinds:
        return True
    if _BIOS_BOOT in kinds:
        return False
    raise DriverError("The disk has neither an EFI system partition nor one to boot by BIOS.")


def _kinds(head: bytes) -> set[uuid.UUID]:
    header = head[_SECTOR : 2 * _SECTOR]
    if not header.startswith(b"EFI PART"):
        raise DriverError("The disk has no GPT, so it is none that can be booted.")
    first, count, size = struct.unpack_from("<QII", header, 72)
    table = head[first * _SECTOR :]
    entries = (table[at * size : at * size + 16] for at in range(count))
    return {uuid.UUID(bytes_le=entry) for entry in entries if len(entry) == 16}
