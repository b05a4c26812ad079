# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of the parts of a disk, each derived from what the disk holds. Pure."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """Where all ids and salts of a disk come from, so that the same content is the same bytes.

    :param seed: digest of the image that the disk is made from, ``sha256:HEX``.
    """

    seed: str

    def bytes(self, part: str) -> bytes:
        """Return 32 bytes that belong to *part*."""
        return hashlib.sha256(f"{self.seed} {part}".encode()).digest()

    def uuid(self, part: str) -> uuid.UUID:
        """Return the UUID of *part*, of version 8 (RFC 9562, section 5.8)."""
        value = bytearray(self.bytes(part)[:16])
        value[6] = value[6] & 0x0F | 0x80
        value[8] = value[8] & 0x3F | 0x80
        return uuid.UUID(bytes=bytes(value))

    def volume_id(self, part: str) -> str:
        """Return the eight hexadecimal digits by which FAT names a file system."""
        return self.bytes(part)[:4].hex()


def verity_uuids(root_hash: str) -> tuple[uuid.UUID, uuid.UUID]:
    """Return the UUIDs by which a root and its hashes are found (Discoverable Partitions).

    :param root_hash: of dm-verity, in hexadecimal digits: its first half names the root, its last
        the hashes, so that who knows the hash knows the partitions.
    """
    return uuid.UUID(hex=root_hash[:32]), uuid.UUID(hex=root_hash[-32:])
