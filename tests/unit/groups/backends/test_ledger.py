# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents and the lock in an engine: exactly one of two who try is the one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backend import LockHeld
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.ledger import (
    LARGEST,
    Ledger,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import Lock


@dataclass
class Memory:
    """Objects with names; somebody else may come between any two questions."""

    objects: dict[tuple[str, int], bytes] = field(default_factory=dict)
    between: list[Callable[[], None]] = field(default_factory=list)

    def _numbers(self, note: str) -> list[int]:
        found = [number for name, number in self.objects if name == note]
        if self.between:
            self.between.pop(0)()
        return found

    def latest(self, note: str) -> tuple[int, bytes | None]:
        number = max(self._numbers(note), default=0)
        return number, self.objects.get((note, number))

    def make(self, note: str, number: int, content: bytes) -> list[int] | None:
        if self.objects.setdefault((note, number), content) is not content:
            return None
        return self._numbers(note)

    def remove(self, note: str, number: int) -> None:
        self.objects.pop((note, number), None)


class Clock:
    """Unix time that the test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(memory: Memory, clock: Clock) -> Ledger:
    return Ledger(memory, clock)


def test_a_note_that_nobody_wrote_is_empty(ledger: Ledger) -> None:
    assert ledger.read_note("record") == {}


def test_a_note_is_what_was_written_last(ledger: Ledger, memory: Memory) -> None:
    for number in range(5):
        ledger.write_note("record", {"number": number})
    assert ledger.read_note("record") == {"number": 4}
    assert len(memory.objects) == 1


def test_notes_do_not_mix(ledger: Ledger) -> None:
    ledger.write_note("record", {"a": 1})
    ledger.write_note("flags", {"b": 2})
    assert ledger.read_note("record") == {"a": 1}


def test_two_who_change_a_note_lose_nothing(ledger: Ledger, memory: Memory) -> None:
    memory.between = [lambda: ledger.change_note("taints", lambda old: {**old, "one": "x"})]
    ledger.change_note("taints", lambda old: {**old, "two": "y"})
    assert ledger.read_note("taints") == {"one": "x", "two": "y"}


def test_a_note_that_is_too_large_is_refused(ledger: Ledger) -> None:
    with pytest.raises(DriverError, match="larger than 256 KiB"):
        ledger.write_note("record", {"text": "x" * LARGEST})


def test_a_lock_is_held_until_its_lease_ends(ledger: Ledger, clock: Clock) -> None:
    mine = ledger.take_lock("me", 30)
    with pytest.raises(LockHeld) as held:
        ledger.take_lock("you", 30)
    assert held.value.lock == mine
    clock.time += 31
    assert ledger.read_lock() is None
    assert ledger.take_lock("you", 30).holder == "you"


def test_of_two_who_take_a_free_lock_one_has_it(ledger: Ledger, memory: Memory) -> None:
    won: list[Lock] = []
    memory.between = [lambda: won.append(ledger.take_lock("you", 30))]
    with pytest.raises(LockHeld) as held:
        ledger.take_lock("me", 30)
    assert held.value.lock.holder == "you"
    assert ledger.read_lock() == won[0]


def test_of_two_who_take_a_lock_that_ran_out_one_has_it(
    ledger: Ledger, memory: Memory, clock: Clock
) -> None:
    ledger.take_lock("before", 1)
    clock.time += 2

    def other() -> None:
        ledger.take_lock("you", 30)

    memory.between = [other]
    with pytest.raises(LockHeld):
        ledger.take_lock("me", 30)
    lock = ledger.read_lock()
    assert lock is not None
    assert lock.holder == "you"


def test_who_slept_over_many_holders_does_not_get_an_old_number(
    ledger: Ledger, memory: Memory
) -> None:
    def others() -> None:
        for name in ("a", "b", "c"):
            ledger.release_lock(ledger.take_lock(name, 30))
        ledger.take_lock("you", 30)

    memory.between = [others]
    with pytest.raises(LockHeld):
        ledger.take_lock("me", 30)
    lock = ledger.read_lock()
    assert lock is not None
    assert lock.holder == "you"


def test_a_lock_can_be_broken_and_its_holder_finds_out(ledger: Ledger) -> None:
    mine = ledger.take_lock("me", 30)
    ledger.take_lock("you", 30, break_it=True)
    assert not ledger.holds(mine)
    with pytest.raises(LockHeld) as held:
        ledger.renew_lock(mine, 30)
    assert held.value.lock.holder == "you"


def test_a_lock_is_renewed_by_its_holder(ledger: Ledger, clock: Clock) -> None:
    mine = ledger.take_lock("me", 30)
    clock.time += 20
    renewed = ledger.renew_lock(mine, 30)
    assert (renewed.token, renewed.since, renewed.until) == (mine.token, 1000.0, 1050.0)


def test_a_lock_whose_lease_is_over_is_not_held(ledger: Ledger, clock: Clock) -> None:
    mine = ledger.take_lock("me", 30)
    assert ledger.holds(mine)
    clock.time += 31
    assert not ledger.holds(mine)


def test_a_lock_that_was_given_back_is_free(ledger: Ledger) -> None:
    ledger.release_lock(ledger.take_lock("me", 30))
    assert ledger.read_lock() is None
    assert ledger.take_lock("you", 30).holder == "you"


def test_a_lock_of_somebody_else_is_not_given_back(ledger: Ledger) -> None:
    mine = ledger.take_lock("me", 30)
    ledger.take_lock("you", 30, break_it=True)
    ledger.release_lock(mine)
    assert ledger.read_lock() is not None


def test_tokens_are_never_the_same(ledger: Ledger) -> None:
    tokens = set()
    for _number in range(5):
        lock = ledger.take_lock("me", 30)
        tokens.add(lock.token)
        ledger.release_lock(lock)
    assert len(tokens) == 5
