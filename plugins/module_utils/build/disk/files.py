# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of a version as files in a folder, with a list of their checksums."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import DriverError
from ...core.files import locked, whole_file, write_whole
from ...oci.digest import parse
from ...oci.layout import Layout
from .artefact import DiskArtefact

SUMS = "SHA256SUMS"
_CHUNK = 1 << 20
_LINE = "{digest}  {name}\n"


@dataclass(frozen=True, slots=True)
class DiskFile:
    """A disk and the file that it is to be.

    :param is_there: whether the file has that content already.
    """

    disk: DiskArtefact
    path: Path
    is_there: bool

    @property
    def sha256(self) -> str:
        """The digest of its content in hexadecimal digits."""
        return parse(self.disk.blob.digest)[1]


def plan_files(
    disks: Iterable[DiskArtefact], folder: Path, *, name: str, version: str
) -> tuple[DiskFile, ...]:
    """Return a file for each of *disks*, named ``NAME_VERSION.FORMAT``; only reads.

    What is the content of a partition is named ``NAME_VERSION_UUID.FORMAT``.
    """
    found = []
    for disk in disks:
        words = [name, version, *([disk.partition] if disk.partition else [])]
        path = folder / f"{'_'.join(words)}.{disk.format}"
        found.append(DiskFile(disk, path, _holds(path, disk)))
    return tuple(found)


def write_files(layout: Layout, files: Iterable[DiskFile], folder: Path) -> None:
    """Write those of *files* that are not there, then the sums; what was listed stays listed.

    A file gets its name when it is whole. Blocks of zeros become holes.
    """
    files = tuple(files)
    for one in files:
        if not one.is_there:
            with layout.open(one.disk.blob) as stream, whole_file(one.path) as target:
                while chunk := stream.read(_CHUNK):
                    if chunk.count(0) == len(chunk):
                        target.seek(len(chunk), 1)
                    else:
                        target.write(chunk)
                target.truncate(one.disk.blob.size)
    with locked(folder / f".{SUMS}.lock"):
        sums = read_sums(folder) | {one.path.name: one.sha256 for one in files}
        text = "".join(_LINE.format(digest=sums[name], name=name) for name in sorted(sums))
        write_whole(folder / SUMS, text.encode())


def read_sums(folder: Path) -> dict[str, str]:
    """Return the digests that the folder's list has, by the names of the files."""
    with contextlib.suppress(FileNotFoundError):
        found = {}
        for line in (folder / SUMS).read_text("utf-8").splitlines():
            digest, _space, name = line.partition("  ")
            if not name or len(digest) != 64:
                raise DriverError(
                    f"{folder / SUMS} has the line {line!r}, which is no checksum.",
                    hint="Remove the file, or publish into another folder.",
                )
            found[name] = digest
        return found
    return {}


def _holds(path: Path, disk: DiskArtefact) -> bool:
    try:
        if path.stat().st_size != disk.blob.size:
            return False
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == parse(disk.blob.digest)[1]
    except FileNotFoundError:
        return False
