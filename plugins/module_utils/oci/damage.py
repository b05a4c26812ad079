# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs that are not what their digest says: the errors that name them, and the look at a file."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import DriverError
from .digest import parse


class LostBlob(DriverError):
    """A blob that a layout should have cannot be given.

    :param digest: of the blob.
    :param root: of the layout.
    """

    def __init__(self, message: str, digest: str, root: Path, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, details={"blob": digest})
        self.digest = digest
        self.root = root


class MissingBlob(LostBlob):
    """It is not there."""


class DamagedBlob(LostBlob):
    """It is there, with another size or other content than it was asked for."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A file that should hold a blob, as it was found.

    :param flaw: what is wrong with its content, None when its digest is right.
    :param identity: device and inode: a file that took its place since then has others.
    """

    size: int
    flaw: str | None
    identity: tuple[int, int]


def examine(path: Path, digest: str) -> Examined | None:
    """Read the whole file at *path* and compare it with *digest*; None when there is no file."""
    algorithm, expected = parse(digest)
    try:
        stream = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return None
    with stream:
        status = os.fstat(stream.fileno())
        identity = (status.st_dev, status.st_ino)
        try:
            found = hashlib.file_digest(stream, algorithm).hexdigest()
        except OSError as error:
            return Examined(status.st_size, f"it cannot be read: {error.strerror}", identity)
    flaw = None if found == expected else f"its content has the digest {algorithm}:{found}"
    return Examined(status.st_size, flaw, identity)
