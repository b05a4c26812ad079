# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every backend of instance groups does: one suite, for the simulated and the real ones.

A class of tests derives from :class:`BackendContract` and has a fixture ``subject``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backend import (
    Backend,
    LockHeld,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import Hook
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import (
    Action,
    Drain,
    Fault,
    Health,
    Instance,
    Life,
    Lock,
    Release,
    Send,
    Start,
    Stop,
    Traffic,
)

LEASE = 60.0
PATIENCE = 300  # looks until something must be so


@dataclass
class Subject:
    """A backend with its group, which has no instance when a test begins.

    :param other: makes another operator's view of the same group.
    :param wait: lets a moment pass.
    """

    backend: Backend
    release: Release
    settings: str
    other: Callable[[], Backend]
    wait: Callable[[], None]
    hook: Hook

    def lock(self) -> Lock:
        """Take the lock, whoever has it."""
        return self.backend.take_lock("the test", LEASE, break_it=True)

    def do(self, lock: Lock, *actions: Action) -> list[Fault | None]:
        """Have *actions* done and return their faults."""
        return [outcome.fault for outcome in self.backend.apply(actions, lock)]

    def instance(self, name: str) -> Instance | None:
        """Return an instance as it is now."""
        return next((one for one in self.backend.observe().instances if one.id == name), None)

    def until(self, name: str, probe: Callable[[Instance], bool]) -> Instance:
        """Wait until an instance is as *probe* wants it."""
        for _look in range(PATIENCE):
            one = self.instance(name)
            if one is not None and probe(one):
                return one
            self.wait()
        raise AssertionError(f"waited in vain; it is {self.instance(name)}")

    def clear(self, lock: Lock) -> None:
        """Take every instance away."""
        names = [one.id for one in self.backend.observe().instances]
        self.do(lock, *(Drain(name) for name in names))
        self.do(lock, *(Stop(name) for name in names))


def passing(one: Instance) -> bool:
    """Whether *one* is healthy."""
    return one.health is Health.PASSING


class BackendContract:
    """The suite."""

    def test_an_instance_lives_from_its_start_to_its_stop(self, subject: Subject) -> None:
        lock = subject.lock()
        assert subject.do(lock, Start("one", subject.release)) == [None]
        started = subject.instance("one")
        assert started is not None
        assert started.life in {Life.STARTING, Life.RUNNING}
        assert started.traffic is Traffic.OUT
        assert not started.serving
        healthy = subject.until("one", passing)
        assert not healthy.serving, "it has traffic that nobody sent to it"
        assert (healthy.version, healthy.digest, healthy.settings) == (
            subject.release.version,
            subject.release.digest,
            subject.settings,
        )
        assert subject.do(lock, Send("one", 30)) == [None]
        serving = subject.until("one", lambda one: one.serving)
        assert serving.weight == 30
        assert subject.do(lock, Send("one")) == [None]
        assert subject.until("one", lambda one: one.weight == 100).serving
        assert subject.do(lock, Drain("one")) == [None]
        drained = subject.until("one", lambda one: not one.connections)
        assert drained.traffic is not Traffic.READY
        assert subject.do(lock, Stop("one")) == [None]
        assert subject.instance("one") is None

    def test_an_action_that_is_repeated_is_no_error(self, subject: Subject) -> None:
        lock = subject.lock()
        for _again in range(2):
            assert subject.do(lock, Start("twice", subject.release)) == [None]
        assert [one.id for one in subject.backend.observe().instances] == ["twice"]
        subject.until("twice", passing)
        for action in (Send("twice"), Drain("twice"), Stop("twice")):
            if isinstance(action, Stop):
                subject.until("twice", lambda one: not one.connections)
            assert subject.do(lock, action) == [None]
            assert subject.do(lock, action) == [None]
        assert subject.do(lock, Stop("never")) == [None]
        assert subject.backend.observe().instances == ()

    def test_whoever_lost_the_lock_does_nothing(self, subject: Subject) -> None:
        lost = subject.lock()
        held = subject.other().take_lock("another", LEASE, break_it=True)
        assert subject.do(lost, Start("none", subject.release)) == [Fault.LOCK]
        assert subject.backend.observe().instances == ()
        with pytest.raises(LockHeld) as error:
            subject.backend.renew_lock(lost, LEASE)
        assert error.value.lock.token == held.token
        subject.backend.release_lock(lost)
        kept = subject.backend.read_lock()
        assert kept is not None
        assert kept.token == held.token

    def test_a_second_operator_is_told_who_has_the_lock(self, subject: Subject) -> None:
        mine = subject.lock()
        with pytest.raises(LockHeld) as error:
            subject.other().take_lock("another", LEASE)
        assert error.value.lock.holder == "the test"
        assert error.value.lock.since == mine.since
        renewed = subject.backend.renew_lock(mine, 2 * LEASE)
        assert renewed.until > mine.until
        subject.backend.release_lock(renewed)
        assert subject.backend.read_lock() is None
        taken = subject.other().take_lock("another", LEASE)
        assert taken.token != mine.token

    def test_notes_are_what_was_written_last(self, subject: Subject) -> None:
        assert subject.backend.read_note("never-written") == {}
        for number in range(3):
            subject.backend.write_note("test", {"number": number, "text": "ä" * 1000})
        assert subject.other().read_note("test") == {"number": 2, "text": "ä" * 1000}
        subject.backend.write_note("test", {})
        assert subject.backend.read_note("test") == {}

    def test_a_taint_stays_until_it_is_taken_back(self, subject: Subject) -> None:
        lock = subject.lock()
        subject.do(lock, Start("odd", subject.release))
        before = subject.backend.observe().revision
        subject.backend.taint("odd", "drifted: 3 files")
        tainted = subject.instance("odd")
        assert tainted is not None
        assert tainted.tainted == "drifted: 3 files"
        assert not before or subject.backend.observe().revision != before
        subject.backend.taint("odd", "")
        clean = subject.instance("odd")
        assert clean is not None
        assert clean.tainted == ""

    def test_a_hook_tells_how_it_ended(self, subject: Subject) -> None:
        assert subject.backend.run_hook(subject.hook, subject.release).status == 3
