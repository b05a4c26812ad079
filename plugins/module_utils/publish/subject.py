# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk of a version on its way to a place, and its content as that place reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..build.disk.artefact import DiskArtefact
from ..core.errors import DriverError
from ..oci.digest import parse
from ..oci.layout import Layout

ARCHITECTURE = "amd64"
"""Of all disks so far."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A disk, and the version that it is of.

    :param index: digest of the version's index.
    """

    image: str
    number: str
    index: str
    disk: DiskArtefact
    layout: Layout

    @property
    def named(self) -> str:
        """The version as a person calls it."""
        return f"{self.image} {self.number}"

    @property
    def label(self) -> str:
        """The version as one word."""
        return f"{self.image}-{self.number}"

    @property
    def sha256(self) -> str:
        """The digest of the disk's file in hexadecimal digits."""
        return parse(self.disk.blob.digest)[1]

    @property
    def description(self) -> str:
        """What tells this disk from another one of the same name."""
        return f"{self.named}, disk {self.disk.blob.digest}"


def choose(disks: Sequence[DiskArtefact], formats: Sequence[str], *, named: str) -> DiskArtefact:
    """Return the first of *disks* by the order of *formats*; DriverError when there is none.

    :param named: the version, as the error calls it.
    """
    by_format = {disk.format: disk for disk in disks}
    for form in formats:
        if form in by_format:
            return by_format[form]
    wanted = " or ".join(formats)
    if not disks:
        raise DriverError(
            f"{named} has no disks.", hint="Its definition needs kind: vm and a disk."
        )
    raise DriverError(
        f"{named} has no disk in the format {wanted}; it has {' and '.join(by_format)}.",
        hint=f"Add {formats[0]} to disk.formats of its definition and bake it again.",
    )


def blocks(subject: Subject, size: int, *, whole_file: bool = False) -> Iterator[bytes]:
    """Give the disk in blocks of *size* bytes, the last one shorter when it ends before.

    The disk is that which a machine sees, without the footer of a VHD, unless it is to be the
    *whole_file*. The content is verified when the last byte of the file was read, so what was made
    of the blocks may be taken for good only when this has ended.
    """
    left = subject.disk.blob.size if whole_file else subject.disk.size
    with subject.layout.open(subject.disk.blob) as stream:
        while left > 0:
            block = stream.read(min(size, left))
            if not block:
                break
            left -= len(block)
            yield block
        while stream.read(1 << 20):  # the footer: the digest is of the whole file
            pass


def verified_file(subject: Subject) -> Path:
    """Return the file of the disk, for what must seek in it, after a look at the whole of it."""
    for block in blocks(subject, 1 << 20, whole_file=True):
        del block
    return subject.layout.path(subject.disk.blob.digest)


def is_empty(block: bytes) -> bool:
    """Whether *block* holds nothing but zeros."""
    return block.count(0) == len(block)


def gibibytes(size: int) -> int:
    """Return how many GiB hold *size* bytes."""
    return -(-size // (1 << 30))
