# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploads of blobs: in one request when small, in chunks that are taken up again when not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, NoReturn
from urllib.parse import quote, urlencode, urljoin, urlsplit

from ...core.errors import DriverError
from ..descriptor import Descriptor
from .access import Interrupted, RegistryError
from .tokens import Scopes
from .transport import Answer, Body, Transport

SMALLEST_LIMIT = 4 << 20
"""What the strictest of the known registries takes in one request: GitHub's 4 MiB."""
_RANGE = re.compile(r"(?:bytes=)?0-(-?[0-9]+)")
_TOO_LARGE = frozenset({413, 416})
_BLOCK = 1 << 20


class _Restart(Exception):
    """The upload's session is of no use any more."""

    def __init__(self, why: Interrupted) -> None:
        super().__init__(str(why))
        self.why = why


@dataclass(slots=True)
class Upload:
    """An upload of one blob (distribution-spec v1.1, "Pushing blobs").

    :param path: of the repository: ``v2/NAME``.
    :param opened: opens the blob from its beginning; it verifies what it reads.
    :param exists: whether the registry has the blob.
    """

    transport: Transport
    path: str
    scopes: Scopes
    blob: Descriptor
    opened: Callable[[], BinaryIO]
    exists: Callable[[], bool]
    sent: int = 0
    _chunk: int = 0
    _stream: BinaryIO | None = None
    _at: int = 0

    def run(self, location: str | None = None) -> int:
        """Send the blob and return the bytes that went out for it, repeated ones included.

        :param location: of a session that the registry has opened already.

        A session that is lost is begun anew. RegistryError when the registry refuses or every
        attempt was interrupted; what the registry has of it then is not the blob.
        """
        self._chunk = self.transport.access.chunk
        attempt = 1
        while True:
            try:
                self._session(location or self._start())
            except _Restart as error:
                if self.exists():
                    # The answer to the last request was lost, not the request.
                    return self.sent
                self.transport.pause(attempt, error.why)
                attempt, location = attempt + 1, None
            except _TooLarge:
                location = None
            else:
                return self.sent

    def _start(self) -> str:
        answer = self.transport.ask(
            "POST", f"{self.path}/blobs/uploads/", self.scopes, headers={"Content-Length": "0"}
        )
        if answer.status != 202:
            raise self.transport.refusal(answer, f"begin an upload to {self.path[3:]}")
        minimum = answer.header("OCI-Chunk-Min-Length")
        if minimum.isdecimal():
            self._chunk = max(self._chunk, int(minimum))
        return self._location(answer)

    def _session(self, location: str) -> None:
        try:
            if self.blob.size <= self._chunk:
                self._finish(location, self.blob.size)
                return
            offset = 0
            while offset < self.blob.size:
                end = min(offset + self._chunk, self.blob.size)
                location = self._send_chunk(location, offset, end)
                offset = end
            self._finish(location, 0)
        except (RegistryError, _Restart, _TooLarge):
            raise
        except BaseException:
            # Ours is the trouble, as a damaged blob: the registry need not keep the rest for days.
            self._cancel(location)
            raise
        finally:
            self._close()

    def _finish(self, location: str, size: int) -> None:
        separator = "&" if urlsplit(location).query else "?"
        url = location + separator + urlencode({"digest": self.blob.digest}, safe=":")
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        body: Body = partial(self._content, 0, size) if size else b""
        try:
            answer = self.transport.send("PUT", url, self.scopes, headers=headers, body=body)
        except Interrupted as error:
            raise _Restart(error) from error
        if answer.status in _TOO_LARGE and size:
            self._smaller(answer)
        if answer.status == 404:
            raise _Restart(Interrupted(f"{self.transport.host} forgot an upload.", status=404))
        if answer.status != 201:
            raise self.transport.refusal(answer, f"keep blob {self.blob.digest}")
        answer.close()

    def _send_chunk(self, location: str, start: int, end: int) -> str:
        """Send what is from *start* to *end*; return where the next chunk goes."""
        at, attempt = start, 1
        while at < end:
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{at}-{end - 1}",
                "Content-Length": str(end - at),
            }
            trouble: Interrupted | None = None
            try:
                answer = self.transport.send(
                    "PATCH",
                    location,
                    self.scopes,
                    headers=headers,
                    body=partial(self._content, at, end),
                )
            except Interrupted as error:
                trouble = error
            else:
                if answer.status == 416 and start:
                    # Not the size, or the first would have been refused: it has other bytes.
                    answer.close()
                    trouble = Interrupted(f"{self.transport.host} lost a part of an upload.")
                elif answer.status in _TOO_LARGE:
                    self._smaller(answer)
                elif answer.status not in {202, 204}:
                    raise self._refused_chunk(answer)
                else:
                    there = self._offset(answer, end)
                    location = self._location(answer)
            if trouble is not None:
                self.transport.pause(attempt, trouble)
                location, there = self._status(location, trouble)
            if not at <= there <= end:
                raise _Restart(
                    Interrupted(f"{self.transport.host} has {there} bytes of {at} that were sent.")
                )
            attempt = 1 if there > at else attempt + 1
            at = there
        return location

    def _content(self, start: int, end: int) -> Iterator[bytes]:
        """Yield what is from *start* to *end*; what stands before it may be read once more."""
        if self._stream is None or self._at != start:
            self._close()
            self._stream, self._at = self.opened(), 0
            while self._at < start:
                self._read(start - self._at)
        while self._at < end:
            block = self._read(end - self._at)
            self.sent += len(block)
            yield block

    def _read(self, most: int) -> bytes:
        block = self._stream.read(min(_BLOCK, most)) if self._stream is not None else b""
        if not block:
            raise DriverError(f"Blob {self.blob.digest} ended after {self._at} bytes.")
        self._at += len(block)
        return block

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _refused_chunk(self, answer: Answer) -> Exception:
        if answer.status == 404:
            answer.close()
            return _Restart(Interrupted(f"{self.transport.host} forgot an upload.", status=404))
        return self.transport.refusal(answer, f"take a part of blob {self.blob.digest}")

    def _status(self, location: str, why: Interrupted) -> tuple[str, int]:
        """Return where an interrupted upload goes on, and how many bytes the registry has."""
        answer = self.transport.ask("GET", location, self.scopes)
        answer.close()
        if answer.status != 204:
            raise _Restart(why)
        return self._location(answer, location), self._offset(answer, 0)

    def _smaller(self, answer: Answer) -> NoReturn:
        if self._chunk <= SMALLEST_LIMIT:
            raise self.transport.refusal(answer, f"take {self._chunk} bytes at once")
        answer.close()
        self._chunk = SMALLEST_LIMIT
        raise _TooLarge

    def _cancel(self, location: str) -> None:
        try:
            self.transport.send("DELETE", location, self.scopes).close()
        except RegistryError:
            return  # It will be gone in time; what made us give up is what counts.

    def _offset(self, answer: Answer, default: int) -> int:
        found = _RANGE.fullmatch(answer.header("Range"))
        if found is None:
            return default
        last = int(found[1])
        # Nothing is written as 0-0 by some, and as 0--1 by others.
        return 0 if last <= 0 else last + 1

    def _location(self, answer: Answer, default: str = "") -> str:
        """Return where the upload goes on, never from TLS to without."""
        answer.close()
        given = answer.header("Location") or default
        if not given:
            raise RegistryError(f"{self.transport.host} does not say where an upload goes on.")
        url = urljoin(answer.url, quote(given, safe="%/:=&?~#+!$,;'@()*[]"))
        parts, base = urlsplit(url), urlsplit(self.transport.base)
        if base.scheme == "https" and parts.scheme == "http":
            if parts.hostname != base.hostname:
                raise RegistryError(
                    f"{self.transport.host} leads an upload to {parts.netloc}, without TLS."
                )
            # A proxy that ends TLS and does not tell the registry behind it.
            url = parts._replace(scheme="https", netloc=base.netloc).geturl()
        return url


class _TooLarge(Exception):
    """The registry takes less at once."""
