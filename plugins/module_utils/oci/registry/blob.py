# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a blob from a registry: verified by its digest, taken up again where it broke off."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

from ..descriptor import Descriptor
from ..digest import parse
from .access import Interrupted, RegistryError, WrongContent
from .tokens import Scopes
from .transport import Answer, Transport

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class RemoteBlob(io.RawIOBase):
    """The content of a blob, as it comes in.

    The read that reaches its end raises WrongContent when the bytes are not those of its digest.
    A connection that breaks is made again, for the bytes that are missing; RegistryError when
    that is in vain.

    :param verifies: False leaves the digest to the caller, who has it anyway; see compare.
    """

    def __init__(
        self,
        transport: Transport,
        path: str,
        scopes: Scopes,
        blob: Descriptor,
        place: str,
        *,
        verifies: bool = True,
    ) -> None:
        super().__init__()
        self._transport = transport
        self._path = path
        self._scopes = scopes
        self._blob = blob
        self._place = place
        self._hash = hashlib.new(parse(blob.digest)[0]) if verifies else None
        self._at = 0
        self._attempt = 1
        self._answer: Answer | None = None
        self._begin()

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, count: int = -1, /) -> bytes:
        """Up to *count* bytes, all when it is negative; none at the end."""
        if count < 0:
            return self.readall()
        while self._at < self._blob.size:
            try:
                part = self._next(min(count, self._blob.size - self._at))
            except Interrupted as error:
                self._transport.pause(self._attempt, error)
                self._attempt += 1
                self._drop()
                continue
            self._attempt = 1
            if self._hash is not None:
                self._hash.update(part)
            self._at += len(part)
            if self._at == self._blob.size:
                self._verify()
            return part
        if self._blob.size == 0:
            self._verify()
        return b""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into *buffer*; return how many bytes."""
        view = memoryview(buffer).cast("B")
        part = self.read(len(view))
        view[: len(part)] = part
        return len(part)

    def close(self) -> None:
        """Give the connection back."""
        self._drop()
        super().close()

    def _next(self, count: int) -> bytes:
        if self._answer is None:
            self._begin()
        part = self._answer.read(count) if self._answer is not None else b""
        if not part:
            raise Interrupted(
                f"{self._place} gave {self._at} of the {self._blob.size} bytes of blob"
                f" {self._blob.digest}."
            )
        return part

    def _begin(self) -> None:
        headers = {"Range": f"bytes={self._at}-"} if self._at else {}
        answer = self._transport.ask("GET", self._path, self._scopes, headers=headers)
        if self._at and answer.status == 200:
            # It knows no ranges: what we have already is passed over.
            left = self._at
            while left and (part := answer.read(min(left, 1 << 20))):
                left -= len(part)
        elif answer.status not in {200, 206}:
            raise self._transport.refusal(answer, f"give blob {self._blob.digest}")
        length = answer.header("Content-Length")
        if answer.status == 200 and length.isdecimal() and int(length) != self._blob.size:
            answer.close()
            raise self._wrong(f"it has {length} bytes instead of {self._blob.size}")
        self._answer = answer

    def _verify(self) -> None:
        self._drop()
        if self._hash is not None:
            self.compare(self._hash.hexdigest())

    def compare(self, found: str) -> None:
        """Raise WrongContent when *found*, hexadecimal, is not the digest that was asked for."""
        if found != parse(self._blob.digest)[1]:
            raise self._wrong(f"its content has the digest {found}")

    def _wrong(self, how: str) -> RegistryError:
        return WrongContent(
            f"Blob {self._blob.digest} of {self._place} is not what it says: {how}."
        )

    def _drop(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None
