# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release that fails late, other settings and other secrets lead to."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.simulated import (
    Behaviour,
    Killed,
    Time,
    Trouble,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    GroupDefinition,
    Variable,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.policy import Amount, Policy
from ansible_collections.kiln.immutable.plugins.module_utils.groups.run import Cause
from ansible_collections.kiln.immutable.plugins.module_utils.groups.work import Ending, Result
from ansible_collections.kiln.immutable.tests.unit.groups.operated import (
    BROKEN,
    GROUP,
    NEW,
    OLD,
    Platform,
    Started,
    platform,
    rotation,
    versions,
    with_policy,
)

CHANGED = replace(GROUP, environment=(Variable("MODE", "new"),))


def changed_too(there: Platform) -> Result:
    """Rotate to the new release with other settings, as an operator does."""
    asked = rotation(there, CHANGED)
    asked.backend = Started(there, CHANGED)
    asked.earlier = lambda generation: (GROUP, Started(there, GROUP))
    return asked.rotate()


def test_the_way_back_starts_what_ran_with_the_settings_that_it_had() -> None:
    # Two of the old ones may go first, so the way back has some to start.
    changed = with_policy(max_unavailable=Amount(2), failure_threshold=2)
    there = platform(changed, new=BROKEN)
    result = changed_too(there)
    assert (result.ending, result.cause) == (Ending.ROLLED_BACK, Cause.RELEASE)
    assert {one.settings for one in there.look().instances} == {GROUP.settings}
    assert versions(there) == ["1.0.1"] * 4
    assert there.broken_rules == []


def test_the_way_back_from_other_settings_goes_on_after_a_kill() -> None:
    there = platform(new=BROKEN)
    there.trouble = Trouble(kills=0.05)
    there.chance = random.Random(3)
    kills, result = 0, None
    while result is None:
        try:
            result = changed_too(there)
        except Killed:
            kills += 1
            there.time.sleep(61.0)
    assert kills > 0
    assert not result.succeeded
    assert {one.settings for one in there.look().instances} == {GROUP.settings}
    assert versions(there) == ["1.0.1"] * 4


def test_nothing_is_started_when_nobody_knows_with_what() -> None:
    there = platform(new=BROKEN)
    asked = rotation(there, CHANGED)
    asked.backend = Started(there, CHANGED)

    def unreadable(generation: object) -> tuple[GroupDefinition, Platform]:
        raise DriverError("It is damaged.")

    asked.earlier = unreadable
    result = asked.rotate()
    assert (result.ending, result.cause) == (Ending.PAUSED, Cause.PLATFORM)
    assert "What web was started with then cannot be read: It is damaged." in result.message
    assert versions(there) == ["1.0.1"] * 4


class Watched(Time):
    """A clock that looks at the group whenever time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.lowest = 99
        self.there: Platform | None = None

    def sleep(self, seconds: float, /) -> None:
        while seconds > 0:
            step = min(seconds, 0.1)
            super().sleep(step)
            seconds -= step
            if self.there is not None:
                serving = sum(one.serving for one in self.there.look().instances)
                self.lowest = min(self.lowest, serving)


def lowest_with(policy: Policy, lives: float, number: int) -> int:
    """Return how few served while a release came that ends soon after it was ready."""
    group = replace(GROUP, policy=policy)
    there = platform(group, new=Behaviour(crashes=1.0, lives=lives))
    clock = Watched()
    there.time, there.chance, clock.there = clock, random.Random(number), there
    result = rotation(there, group).rotate()
    if policy.min_ready:
        assert result.ending is Ending.ROLLED_BACK
        assert versions(there) == ["1.0.1"] * 4
    return clock.lowest


@pytest.mark.parametrize("surge", [1, 2, 4])
def test_a_release_that_ends_soon_after_it_was_ready_takes_nobodys_service(surge: int) -> None:
    usual = replace(GROUP.policy, max_surge=Amount(surge))
    assert min(lowest_with(usual, usual.min_ready, number) for number in range(20)) == 4
    # Without the time that is waited by default it does.
    hasty = replace(usual, min_ready=0.0)
    assert min(lowest_with(hasty, usual.min_ready, number) for number in range(20)) < 4


def test_an_instance_with_another_value_of_a_secret_is_replaced() -> None:
    there = platform()
    there.given = "key=1 secret:db=1 variable:MODE=7"
    assert rotation(there).rotate().ending is Ending.ROTATED
    assert rotation(there).rotate().ending is Ending.UNCHANGED
    there.given = "key=1 secret:db=2 variable:MODE=7"
    asked = rotation(there)
    reasons = {verdict.reason for verdict in asked.plan().verdicts}
    assert reasons == {"another value of secret db forces replacement"}
    assert asked.rotate().ending is Ending.ROTATED
    there.given = "key=2 secret:db=9 variable:MODE=8"
    lost = {verdict.reason for verdict in rotation(there).plan().verdicts}
    assert lost == {"the loss of the key of its secrets' digests forces replacement"}
    there.given = "key=1 secret:db=2 variable:MODE=7"
    assert {one.values for one in there.look().instances} == {there.given}
    assert versions(there) == ["1.0.2"] * 4


def test_who_serves_on_the_way_back_stays_whatever_the_secrets_are_now() -> None:
    there = platform(new=BROKEN)
    there.given = "secret:db=2"
    assert rotation(there).rotate().ending is Ending.ROLLED_BACK
    names = sorted(one.id for one in there.look().instances)
    assert names == [f"web-old{number}" for number in range(4)]
    assert {one.digest for one in there.look().instances} == {OLD.digest} != {NEW.digest}
