# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents and the lock of a group, kept in an engine, where every operator finds them.

An engine has no file to write, but making an object with a given name is one operation of which
exactly one of two who try succeeds. So each document is a row of objects, ``NAME.1``, ``NAME.2``,
and the highest is what holds. Whoever read number 4 and wants to change it makes number 5; who
finds 5 taken was too late. Older numbers are removed only when there is a higher one, so no
number is given twice. Volumes are such objects at the Docker Engine, configs at Swarm.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ...core.canonical import encode
from ...core.errors import DriverError
from ..backend import LockHeld
from ..model import Lock
from .client import GROUP_LABEL, Client

NOTE_LABEL = "io.kiln.note"
LARGEST = 256 << 10
"""Bytes of JSON that a note may have."""
_LOCK = "lock"
_TRIES = 20
_PIECE = 64 << 10  # bytes of one label: an argument of a program has at most 128 KiB
_WRITER = "io.kiln.writer"
_VALUE = "io.kiln.value"


class Rows(Protocol):
    """Objects with names, which two cannot make at once."""

    def latest(self, note: str) -> tuple[int, bytes | None]:
        """Return the highest number that the document has, and the content of that object.

        0 when there is none; no content when it was replaced between two questions.
        """

    def make(self, note: str, number: int, content: bytes) -> list[int] | None:
        """Make the object; return the numbers that are there then, in any order.

        None when somebody else made the object.
        """

    def remove(self, note: str, number: int) -> None:
        """Remove an object; nothing when it is gone."""


@dataclass(frozen=True, slots=True)
class VolumeRows:
    """Volumes without content: what they hold is in their labels."""

    client: Client
    group: str

    def _name(self, note: str, number: int) -> str:
        return f"kiln-{self.group}-note-{note}.{number}"

    def _marks(self, note: str) -> dict[int, dict[str, str]]:
        """Return the labels of each object of a document, by number."""
        # What is written here has no comma in it: names, and base64.
        found = self.client.volumes(f"{GROUP_LABEL}={self.group}", f"{NOTE_LABEL}={note}")
        return {int(name.rpartition(".")[2]): marks for name, marks in found.items()}

    def latest(self, note: str) -> tuple[int, bytes | None]:
        found = self._marks(note)
        number = max(found, default=0)
        if number == 0:
            return 0, None
        marks = found[number]
        count = sum(1 for key in marks if key.startswith(_VALUE))
        return number, base64.b64decode("".join(marks[f"{_VALUE}{at}"] for at in range(count)))

    def make(self, note: str, number: int, content: bytes) -> list[int] | None:
        name, writer = self._name(note, number), secrets.token_hex(8)
        text = base64.b64encode(content).decode()
        pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
        marks = {f"{_VALUE}{place}": piece for place, piece in enumerate(pieces)}
        marks |= {GROUP_LABEL: self.group, NOTE_LABEL: note, _WRITER: writer}
        # The engine answers the same whether it made the volume or had it: only the labels,
        # which are the first writer's, tell.
        self.client.create_volume(name, marks)
        found = self._marks(note)
        return list(found) if found.get(number, {}).get(_WRITER) == writer else None

    def remove(self, note: str, number: int) -> None:
        self.client.remove_volume(self._name(note, number))


@dataclass(frozen=True, slots=True)
class Ledger:
    """The documents and the lock of one group.

    :param now: gives Unix time.
    """

    rows: Rows
    now: Callable[[], float] = field(default=time.time)

    def read_note(self, name: str) -> Mapping[str, Any]:
        """Return the document *name*, {} when there is none."""
        return self._latest(name)[1]

    def write_note(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep *value*, whichever was there before."""
        if len(encode(value)) > LARGEST:
            raise DriverError(f"The note {name} is larger than {LARGEST >> 10} KiB.")
        self.change_note(name, lambda _old: value)

    def change_note(
        self, name: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    ) -> None:
        """Keep what *change* makes of the document, none of others' changes lost."""
        for _attempt in range(_TRIES):
            number, old = self._latest(name)
            if self._append(name, number, change(old)):
                return
        raise DriverError(f"The note {name} is written by too many at once.")

    def take_lock(self, holder: str, lease: float, *, break_it: bool = False) -> Lock:
        """Take the lock, or raise LockHeld."""
        number, held = self._lock()
        now = self.now()
        if held is not None and not break_it:
            raise LockHeld(held)
        lock = Lock(holder, secrets.token_hex(8), now, now + lease)
        return self._put(number, lock)

    def renew_lock(self, lock: Lock, lease: float) -> Lock:
        """Return *lock* with a lease from now; LockHeld when it is somebody else's by now."""
        number, held = self._lock(expired=True)
        if held is None or held.token != lock.token:
            raise LockHeld(held or replace(lock, holder="nobody", until=0.0))
        return self._put(number, replace(held, until=self.now() + lease))

    def release_lock(self, lock: Lock) -> None:
        """Give *lock* back; nothing when it is somebody else's by now."""
        number, held = self._lock(expired=True)
        if held is not None and held.token == lock.token:
            self._append(_LOCK, number, {})

    def read_lock(self) -> Lock | None:
        """Return who holds the lock, None when it is free."""
        return self._lock()[1]

    def holds(self, lock: Lock) -> bool:
        """Whether *lock* is the one that is kept, and its lease goes on."""
        held = self.read_lock()
        return held is not None and held.token == lock.token

    def _lock(self, *, expired: bool = False) -> tuple[int, Lock | None]:
        number, value = self._latest(_LOCK)
        if not value:
            return number, None
        lock = Lock(value["holder"], value["token"], value["since"], value["until"])
        return number, lock if expired or lock.until > self.now() else None

    def _put(self, number: int, lock: Lock) -> Lock:
        document = {
            "holder": lock.holder,
            "token": lock.token,
            "since": lock.since,
            "until": lock.until,
        }
        if not self._append(_LOCK, number, document):
            _number, held = self._lock(expired=True)
            raise LockHeld(held or replace(lock, holder="somebody who gave it back just now"))
        return lock

    def _latest(self, name: str) -> tuple[int, Mapping[str, Any]]:
        for _attempt in range(_TRIES):
            number, content = self.rows.latest(name)
            if number == 0:
                return 0, {}
            if content is not None:
                value = json.loads(content)
                return number, value if isinstance(value, dict) else {}
        raise DriverError(f"The note {name} changes faster than it can be read.")

    def _append(self, name: str, number: int, value: Mapping[str, Any]) -> bool:
        """Make *value* follow number *number*; False when something else did before."""
        numbers = self.rows.make(name, number + 1, encode(value))
        if numbers is None:
            return False
        if max(numbers, default=0) > number + 1:
            # What we read was old and its successors' numbers are used up: ours never held.
            self.rows.remove(name, number + 1)
            return False
        for older in numbers:
            if older <= number:
                self.rows.remove(name, older)
        return True
