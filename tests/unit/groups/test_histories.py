# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rotation promises holds in every history, whatever fails and whenever it is killed.

Each example is a group, a policy, releases and a platform with faults of their own, and an
operator who runs the same command again until it ends by itself. The simulated platform notes
each action that breaks a rule at the moment it is asked for.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.simulated import (
    Behaviour,
    Killed,
    Simulated,
    Time,
    Trouble,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    GroupDefinition,
    Hook,
    ImageChoice,
    Variable,
    Volume,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.engine import Rotation
from ansible_collections.kiln.immutable.plugins.module_utils.groups.gates import Answer
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import Release
from ansible_collections.kiln.immutable.plugins.module_utils.groups.notes import (
    Generation,
    GroupState,
    write_state,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.policy import (
    Amount,
    Bounds,
    CanaryStep,
    Gate,
    OnFailure,
    Phase,
    Policy,
    Strategy,
    bounds,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.run import Edge
from ansible_collections.kiln.immutable.plugins.module_utils.groups.work import Ending, Result
from ansible_collections.kiln.immutable.tests.unit.groups.operated import Started
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

OLD = Release("web", "1.0.1", "sha256:" + "1" * 64, "kiln/web:1.0.1")
NEW = Release("web", "1.0.2", "sha256:" + "2" * 64, "kiln/web:1.0.2")
PARTS, EXAMPLES, SEEDS = 5, 200, 5
"""Each part has so many examples, each with so many courses of events: 5,000 histories."""

SLACK = 300.0
"""Seconds by which calls of the simulated platform and sleeps may overrun a deadline."""

rates = st.sampled_from([0.0, 0.0, 0.0, 0.05, 0.3, 1.0])
rare = st.sampled_from([0.0, 0.0, 0.02, 0.1])
amounts = st.one_of(
    st.integers(0, 4).map(Amount), st.integers(0, 100).map(lambda n: Amount(n, percent=True))
)


@st.composite
def policies(draw: st.DrawFn, exclusive: bool) -> Policy:
    strategies = [Strategy.ROLLING] if exclusive else list(Strategy)
    strategy = draw(st.sampled_from(strategies))
    surge, unavailable = draw(amounts), draw(amounts)
    if exclusive and unavailable.number == 0:
        unavailable = Amount(1)
    if not exclusive and surge.number == 0 and unavailable.number == 0:
        surge = Amount(1)
    if strategy is Strategy.BLUE_GREEN:
        surge = Amount(100, percent=True)
    steps = tuple(
        CanaryStep(weight, draw(st.sampled_from([0.0, 5.0])))
        for weight in sorted(draw(st.sets(st.integers(1, 99), min_size=1, max_size=3)))
    )
    gate = Gate(
        "check", "command", at=draw(st.sampled_from(["start", "step", "end"])), timeout=20.0
    )
    return Policy(
        strategy=strategy,
        max_surge=surge,
        max_unavailable=unavailable,
        batch=draw(st.none() | st.integers(1, 4).map(Amount)),
        min_ready=draw(st.sampled_from([0.0, 2.0])),
        start_timeout=draw(st.sampled_from([8.0, 30.0])),
        bake_time=draw(st.sampled_from([0.0, 10.0])),
        steps=steps if strategy is Strategy.CANARY else (),
        deadline=draw(st.sampled_from([30.0, 120.0, 600.0])),
        failure_threshold=draw(st.integers(1, 3)),
        on_failure=draw(st.sampled_from(list(OnFailure))),
        gates=(gate,) if draw(st.booleans()) else (),
    )


@st.composite
def groups(draw: st.DrawFn) -> GroupDefinition:
    exclusive = draw(st.sampled_from([False, False, True]))
    hook = Hook(
        "migrate", draw(st.sampled_from(["before", "after"])), ("x",), draw(st.sampled_from(Phase))
    )
    return GroupDefinition(
        "web",
        ImageChoice("web", version="1.0.2"),
        draw(st.integers(1, 7)),
        volumes=(Volume("data", "/data"),) if exclusive else (),
        policy=draw(policies(exclusive)),
        hooks=(hook,) if draw(st.integers(0, 3)) == 0 else (),
        drain_time=draw(st.sampled_from([0.0, 5.0, 30.0])),
    )


@st.composite
def behaviours(draw: st.DrawFn) -> Behaviour:
    return Behaviour(
        start=draw(st.sampled_from([(0.5, 1.0), (1.0, 5.0), (5.0, 40.0)])),
        broken=draw(rates),
        crashes=draw(rates),
        flaps=draw(rates),
        request=draw(st.sampled_from([0.0, 1.0, 60.0])),
        refuses=draw(rare),
    )


troubles = st.builds(Trouble, blind=rare, fails=rare, forgets=rare, kills=rare, sleeps=rare)


class Bounded(Time):
    """A clock that stops whoever lets more time pass than a run may take."""

    limit = float("inf")

    def sleep(self, seconds: float, /) -> None:
        super().sleep(seconds)
        assert self.seconds <= self.limit, "the deadline did not fire"


class History:
    """An operator who wants the new release, and runs the same command until it ends."""

    def __init__(
        self,
        group: GroupDefinition,
        old: Behaviour,
        new: Behaviour,
        trouble: Trouble,
        before: int,
        number: int,
    ) -> None:
        self.group = group
        # In every second history the settings change together with the release.
        other = replace(group, environment=(Variable("MODE", "old"),))
        self.then = other if number % 2 else group
        self.time = Bounded()
        ahead = bounds(group.policy, group.size, stop_first=group.stop_first)
        behind = bounds(group.policy, before, stop_first=group.stop_first)
        # On the way back the group has the size that it had.
        self.before = before
        self.limits = Bounds(
            size=max(group.size, before),
            surge=max(ahead.most, behind.most) - max(group.size, before),
            floor=min(ahead.floor, behind.floor),
            batch=ahead.batch,
        )
        self.chance = random.Random(number)
        self.names = itertools.count()
        self.platform = Simulated(
            self.time,
            self.then.settings,
            self.limits,
            drain_time=group.drain_time,
            behaviours={OLD.digest: replace(old, broken=0.0, refuses=0.0), NEW.digest: new},
            chance=self.chance,
        )
        for place in range(before):
            slot = place if group.stop_first else None
            self.platform.place(f"web-old{place}", OLD, slot=slot)
        generation = Generation(OLD, self.then.settings, {"size": before})
        write_state(self.platform, GroupState(generation))
        self.platform.trouble = trouble
        self.platform.intrude = self.intrude
        self.second_operator_inside = False
        self.refused = 0

    def rotation(self, holder: str) -> Rotation:
        edge = Edge(
            self.time,
            ask=lambda gate, seconds: Answer(self.chance.random() < 0.8, "drawn"),
            name=lambda: f"{next(self.names):04}",
            poll=1.0,
        )
        return Rotation(
            Started(self.platform, self.group),
            self.group,
            NEW,
            holder,
            edge=edge,
            now=self.time.now,
            threaded=False,
            earlier=lambda generation: (self.then, Started(self.platform, self.then)),
        )

    def intrude(self) -> None:
        """Now and then a second operator tries the same, and must be told who is at it."""
        if self.chance.random() > 0.02 or self.second_operator_inside:
            return
        held = self.platform.read_lock()
        self.second_operator_inside = True
        try:
            self.rotation("second").rotate()
        except DriverError as error:
            if held is not None and f"is being changed by {held.holder}" not in str(error):
                self.platform.broken_rules.append(f"the second operator was told: {error}")
            self.refused += held is not None
        else:
            assert held is None, "two operators worked at the same time"
        finally:
            self.second_operator_inside = False

    def whole(self) -> Result | None:
        """Return how it ended; None when it was killed again and again."""
        for number in range(30):
            self.limit_time()
            try:
                result = self.rotation(f"operator {number}").rotate()
            except Killed:
                # The lock of the dead is free when its lease is over.
                self.time.sleep(61.0)
                continue
            except DriverError:
                # It could not even begin, as the platform did not answer.
                self.time.sleep(1.0)
                continue
            if result.ending is not Ending.LOST:
                return result
            self.time.sleep(61.0)
        return None

    def limit_time(self) -> None:
        """Forward and back each have the deadline, whatever happens; so has who comes between."""
        self.time.limit = self.time.seconds + 3 * (2 * self.group.policy.deadline + SLACK)

    def check_truth(self, result: Result) -> None:
        """What was said is what is there."""
        observed = self.platform.look()
        alive = [one for one in observed.instances if one.alive]
        wanted = {Ending.ROTATED: NEW, Ending.UNCHANGED: NEW, Ending.ROLLED_BACK: OLD}
        release = wanted.get(result.ending)
        assert result.succeeded == (release is NEW)
        assert (result.cause is None) == result.succeeded
        if release is not None:
            size = self.group.size if result.succeeded else self.before
            settings = self.group.settings if result.succeeded else self.then.settings
            assert {one.settings for one in alive} <= {settings}
            assert len(alive) == size == len(observed.instances)
            assert all(one.digest == release.digest for one in alive)
            assert all(one.serving and one.weight == 100 for one in alive)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_rules_hold_in_every_history(part: int) -> None:
    @seed(part)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(groups(), behaviours(), behaviours(), troubles, st.integers(0, 7), st.integers(0, 99999))
    def histories(
        group: GroupDefinition,
        old: Behaviour,
        new: Behaviour,
        trouble: Trouble,
        before: int,
        first: int,
    ) -> None:
        for number in range(SEEDS):
            # A size before of 0 stands for the same one: most rotations do not scale.
            history = History(group, old, new, trouble, before or group.size, first + number)
            result = history.whole()
            assert history.platform.broken_rules == []
            if result is not None:
                history.check_truth(result)

    histories()
