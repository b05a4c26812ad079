# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk as a page blob of Azure, sent in pieces, of which those that are there stay."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from ..core.errors import DriverError
from .steps import library
from .subject import Subject, blocks, is_empty

PIECE = 4 << 20
"""Bytes of a request, the most that Azure takes."""

_DISK, _STATE, _WHOLE = "kiln_disk", "kiln_state", "whole"


@dataclass(frozen=True, slots=True)
class BlobUpload:
    """A page blob that is to be, or is, the disk of *subject*.

    :param container: the SDK's client of a container.
    """

    subject: Subject
    container: Any
    name: str
    parallel: int

    @property
    def url(self) -> str:
        """Where the blob is."""
        return str(self._blob.url)

    def is_ours(self) -> bool:
        """Whether there is such a blob, or a part of it; DriverError when it is another one."""
        return self._metadata() is not None

    def is_whole(self) -> bool:
        """Whether the blob has all of the disk."""
        found = self._metadata()
        return found is not None and found.get(_STATE) == _WHOLE

    def remove(self) -> None:
        """Delete the blob."""
        self._blob.delete_blob()

    def send(self) -> None:
        """Send the pages that are not there; what is there of a run that was killed stays.

        That it is whole is written on it last. Each page goes with its checksum.
        """
        has: list[tuple[int, int]] = []
        about = {_DISK: self.subject.sha256}
        if self._metadata() is None:
            self._blob.create_page_blob(self.subject.disk.blob.size, metadata=about)
        else:
            has = [(page.start, page.end) for page in self._blob.list_page_ranges()]
        running: set[Future[None]] = set()
        with ThreadPoolExecutor(max_workers=self.parallel) as pool:
            try:
                for index, piece in enumerate(blocks(self.subject, PIECE, whole_file=True)):
                    start = index * PIECE
                    if is_empty(piece) or _covered(start, start + len(piece), has):
                        continue
                    running.add(pool.submit(self._put, start, piece))
                    while len(running) >= 2 * self.parallel:  # what waits must fit into memory
                        running = _settle(running)
                while running:
                    running = _settle(running)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        self._blob.set_blob_metadata({**about, _STATE: _WHOLE})

    @property
    def _blob(self) -> Any:
        return self.container.get_blob_client(self.name)

    def _put(self, start: int, piece: bytes) -> None:
        self._blob.upload_page(piece, offset=start, length=len(piece), validate_content=True)

    def _metadata(self) -> Mapping[str, str] | None:
        with library("azure-storage-blob", place="Azure"):
            from azure.core.exceptions import ResourceNotFoundError
        try:
            found = self._blob.get_blob_properties()
        except ResourceNotFoundError:
            return None
        about: Mapping[str, str] = found.metadata or {}
        if about.get(_DISK) != self.subject.sha256:
            raise DriverError(
                f"The blob {self.name} in the container {self.container.container_name} is not of"
                f" the disk of {self.subject.named}.",
                hint="Delete it, or name another container.",
            )
        return about


def _covered(start: int, end: int, has: list[tuple[int, int]]) -> bool:
    """Whether the bytes from *start* to before *end* are in one of the ranges *has*."""
    return any(first <= start and end - 1 <= last for first, last in has)


def _settle(running: set[Future[None]]) -> set[Future[None]]:
    done, left = wait(running, return_when=FIRST_COMPLETED)
    for one in done:
        one.result()
    return left
