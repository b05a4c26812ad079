# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rotation does when somebody, the release or the platform comes between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.simulated import (
    Behaviour,
    Killed,
    Time,
    Trouble,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    Hook,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.gates import Answer
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import (
    Drain,
    Fault,
    Finding,
    Health,
    Observed,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.notes import (
    abort,
    approve,
    read_progress,
    read_state,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.policy import (
    Amount,
    CanaryStep,
    Gate,
    OnFailure,
    Phase,
    Strategy,
    bounds,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.run import Cause
from ansible_collections.kiln.immutable.plugins.module_utils.groups.work import Ending
from ansible_collections.kiln.immutable.tests.unit.groups.operated import (
    BROKEN,
    GROUP,
    NEW,
    OLD,
    Platform,
    platform,
    rotation,
    versions,
    with_policy,
)


class Meanwhile(Time):
    """A clock at which something happens at one moment: another terminal."""

    def __init__(self, at: float, do: Callable[[], None]) -> None:
        super().__init__()
        self.at, self.do = at, do

    def sleep(self, seconds: float, /) -> None:
        super().sleep(seconds)
        if self.seconds >= self.at:
            self.at = float("inf")
            self.do()


def test_the_group_runs_the_new_version_and_remembers_the_old() -> None:
    there = platform()
    result = rotation(there).rotate()
    assert (result.ending, result.lowest, result.highest) == (Ending.ROTATED, 4, 5)
    assert versions(there) == ["1.0.2"] * 4
    state = read_state(there)
    assert state.current is not None
    assert state.current.release == NEW
    assert [one.release for one in state.previous] == [OLD]
    assert read_progress(there) is None
    assert there.read_lock() is None
    assert rotation(there).rotate().ending is Ending.UNCHANGED


def test_a_group_is_not_unchanged_while_one_of_it_gets_no_traffic() -> None:
    there = platform()
    assert rotation(there).rotate().ending is Ending.ROTATED
    lock = there.take_lock("somebody", 60.0)
    there.limits = replace(there.limits, floor=0)
    there.apply([Drain(there.look().instances[0].id)], lock)
    there.release_lock(lock)
    asked = rotation(there)
    assert asked.plan().changes
    assert asked.rotate().ending is Ending.ROTATED
    assert versions(there) == ["1.0.2"] * 4


def test_a_release_that_never_gets_healthy_is_rolled_back_and_the_run_fails() -> None:
    there = platform(new=BROKEN)
    result = rotation(there).rotate()
    assert (result.ending, result.cause, result.succeeded) == (
        Ending.ROLLED_BACK,
        Cause.RELEASE,
        False,
    )
    assert "was not healthy within 120 s" in result.message
    assert "was rolled back to web 1.0.1, which serves with 4 instances" in result.message
    assert versions(there) == ["1.0.1"] * 4
    assert result.lowest == 4


@pytest.mark.parametrize(
    ("says", "ending"), [(OnFailure.PAUSE, Ending.PAUSED), (OnFailure.STOP, Ending.STOPPED)]
)
def test_the_policy_says_what_a_failure_leads_to(says: OnFailure, ending: Ending) -> None:
    there = platform(new=BROKEN)
    assert rotation(there, with_policy(on_failure=says)).rotate().ending is ending
    assert versions(there) == ["1.0.1"] * 4
    assert (read_progress(there) is None) == (ending is Ending.STOPPED)


def test_the_deadline_fires_while_one_waits() -> None:
    group = with_policy(deadline=50.0)
    there = platform(group, new=Behaviour(start=(80.0, 80.0)))
    result = rotation(there, group).rotate()
    assert (result.ending, result.cause) == (Ending.ROLLED_BACK, Cause.DEADLINE)
    assert "one waited for 3 of 4 instances to be healthy" in result.message or (
        "one waited for 4 of 4 instances to be healthy" in result.message
    )
    assert there.time.seconds < 100


def test_the_platform_is_blamed_when_the_old_version_fails_as_well() -> None:
    there = platform(new=BROKEN)

    def observe() -> Observed:
        seen = there.look()
        if there.time.seconds < 10:
            return seen
        return replace(
            seen, instances=tuple(replace(one, health=Health.FAILING) for one in seen.instances)
        )

    there_sees = rotation(there)
    there_sees.backend = _Seeing(there, observe)
    result = there_sees.rotate()
    assert (result.ending, result.cause) == (Ending.PAUSED, Cause.PLATFORM)
    assert "4 of 4 instances of the version before became unhealthy as well" in result.message
    assert sum(one.version == "1.0.1" for one in there.look().instances) == 4


class _Seeing:
    """A backend that observes something else."""

    def __init__(self, there: Platform, observe: Callable[[], Observed]) -> None:
        self._there, self.observe = there, observe

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        return getattr(self._there, name)


def test_an_engine_that_does_not_answer_is_no_fault_of_the_release() -> None:
    there = platform()
    first = rotation(there)
    there.trouble = Trouble(fails=1.0)
    result = first.rotate()
    assert (result.ending, result.cause) == (Ending.PAUSED, Cause.PLATFORM)
    there.trouble = Trouble()
    assert rotation(there).rotate().ending is Ending.ROTATED


def test_preflight_tells_the_release_and_the_platform_apart_and_begins_nothing() -> None:
    there = platform()
    there.findings = [Finding(Fault.PLATFORM, "The port 80 is nginx's.")]
    asked = rotation(there)
    asked.judge = lambda release: [f"{release.version} is not signed."]
    with pytest.raises(DriverError) as caught:
        asked.rotate()
    assert str(caught.value).splitlines() == [
        "The release web 1.0.2 may not run here: 1.0.2 is not signed.",
        "The platform is not ready: The port 80 is nginx's.",
    ]
    assert versions(there) == ["1.0.1"] * 4
    assert there.read_lock() is None


def test_a_second_operator_is_told_who_and_since_when() -> None:
    there = platform()
    there.take_lock("ada@host", 60.0)
    with pytest.raises(DriverError, match="by ada@host, since 2023-11-14 22:13:20 UTC"):
        rotation(there, holder="bob").rotate()


def test_the_lock_of_a_dead_process_is_taken_at_once() -> None:
    there = platform()
    there.take_lock("ada", 60.0)
    second = rotation(there, holder="bob")
    second.is_gone = lambda holder: holder == "ada"
    assert second.rotate().ending is Ending.ROTATED


def test_who_slept_through_his_lease_does_nothing_more() -> None:
    there = platform()

    def take_over() -> None:
        there.take_lock("bob", 60.0, break_it=True)

    clock = Meanwhile(1.0, take_over)
    there.time = clock
    result = rotation(there).rotate()
    assert (result.ending, result.succeeded) == (Ending.LOST, False)
    held = there.read_lock()
    assert held is not None
    assert held.holder == "bob"


def test_an_abort_from_another_terminal_rolls_back() -> None:
    there = platform(new=Behaviour(start=(5.0, 5.0)))

    def stop_it() -> None:
        abort(there, "wrong version", "bob")

    there.time = Meanwhile(8.0, stop_it)
    result = rotation(there).rotate()
    assert (result.ending, result.cause) == (Ending.ROLLED_BACK, Cause.ABORT)
    assert "wrong version (bob)" in result.message
    assert versions(there) == ["1.0.1"] * 4


def test_a_canary_waits_for_an_approval_from_another_terminal() -> None:
    group = with_policy(
        strategy=Strategy.CANARY, steps=(CanaryStep(25, None),), max_surge=Amount(1)
    )
    there = platform(group)
    seen: list[list[tuple[str, int]]] = []

    def look_and_approve() -> None:
        progress = read_progress(there)
        assert progress is not None
        assert progress.waits_for == "25%"
        seen.append(sorted((one.version, one.weight) for one in there.look().instances))
        approve(there, "", "bob")

    there.time = Meanwhile(60.0, look_and_approve)
    asked = rotation(there, group)
    assert asked.rotate().ending is Ending.ROTATED
    assert seen == [[("1.0.1", 100)] * 3 + [("1.0.2", 100)]]
    assert any("approved 25% by bob" in line for line in asked.journal.lines)


def test_nobody_can_approve_what_does_not_go_on() -> None:
    with pytest.raises(DriverError, match="No rotation of the group goes on"):
        approve(platform(), "", "bob")


def test_a_gate_that_does_not_let_pass_rolls_back() -> None:
    group = with_policy(gates=(Gate("errors", "command", at="end", timeout=10.0),))
    there = platform(group)
    result = rotation(there, group, ask=lambda gate, left: Answer(False, "7 is not <= 1")).rotate()
    assert (result.ending, result.cause) == (Ending.ROLLED_BACK, Cause.GATE)
    assert "The gate errors does not let pass: 7 is not <= 1" in result.message


def test_gates_of_each_step_are_asked_after_each_batch() -> None:
    group = with_policy(gates=(Gate("errors", "command"),), max_surge=Amount(2))
    there = platform(group)
    seen: list[int] = []

    def ask(gate: Gate, left: float) -> Answer:
        seen.append(versions(there).count("1.0.2"))
        return Answer(True, "")

    assert rotation(there, group, ask=ask).rotate().ending is Ending.ROTATED
    assert seen == [2, 4]


def test_hooks_run_once_in_the_new_image_and_not_on_the_way_back() -> None:
    group = replace(
        GROUP,
        hooks=(
            Hook("expand", "before", ("x",)),
            Hook("clean", "after", ("x",), Phase.CONTRACT),
        ),
    )
    there = platform(group)
    assert rotation(there, group).rotate().ending is Ending.ROTATED
    assert there.hooks == ["expand in 1.0.2", "clean in 1.0.2"]
    tainted = next(iter(there.look().instances)).id
    there.taint(tainted, "drifted: 3 files")
    assert rotation(there, group).rotate().ending is Ending.ROTATED
    assert len(there.hooks) == 2


def test_a_failed_expand_hook_leaves_the_old_version_serving() -> None:
    group = replace(GROUP, hooks=(Hook("expand", "before", ("x",)),))
    there = platform(group)
    there.hook_status = 3
    result = rotation(there, group).rotate()
    assert (result.ending, result.cause) == (Ending.ROLLED_BACK, Cause.HOOK)
    assert result.started == 0


def test_nothing_goes_back_by_itself_behind_a_contract_step() -> None:
    group = replace(GROUP, hooks=(Hook("contract", "before", ("x",), Phase.CONTRACT),))
    there = platform(group, new=BROKEN)
    result = rotation(there, group).rotate()
    assert (result.ending, result.cause) == (Ending.PAUSED, Cause.RELEASE)
    assert "because the hook contract (contract) was begun" in result.message
    progress = read_progress(there)
    assert progress is not None
    assert progress.contract == "contract"


def test_a_killed_run_goes_on_with_the_stage_that_it_had_reached() -> None:
    group = with_policy(
        strategy=Strategy.CANARY,
        steps=(CanaryStep(25), CanaryStep(50)),
        gates=(Gate("errors", "command"),),
    )
    there = platform(group)
    asked: list[str] = []

    def ask(gate: Gate, left: float) -> Answer:
        asked.append(f"{versions(there).count('1.0.2')} of 4")
        if len(asked) == 2:
            raise Killed
        return Answer(True, "")

    with pytest.raises(Killed):
        rotation(there, group, ask=ask).rotate()
    there.time.sleep(61.0)
    again = rotation(there, group, ask=ask)
    assert again.rotate().ending is Ending.ROTATED
    assert asked == ["1 of 4", "2 of 4", "2 of 4", "4 of 4"]
    assert "resume   by ada, after stage 1" in again.journal.lines[0]


def test_a_run_that_was_killed_on_its_way_back_goes_on_going_back() -> None:
    there = platform(new=BROKEN)
    first = rotation(there)
    first.edge.evidence = lambda instance, reason: setattr(there, "trouble", Trouble(kills=1.0))
    with pytest.raises(Killed):
        first.rotate()
    there.trouble = Trouble()
    there.time.sleep(61.0)
    result = rotation(there).rotate()
    assert not result.succeeded
    assert versions(there) == ["1.0.1"] * 4


def test_blue_and_green_switch_at_once_and_the_old_ones_wait_until_the_end() -> None:
    group = with_policy(
        strategy=Strategy.BLUE_GREEN,
        max_surge=Amount(100, percent=True),
        bake_time=30.0,
        gates=(Gate("errors", "command", at="end"),),
    )
    there = platform(group)
    seen: list[tuple[list[str], int]] = []

    def ask(gate: Gate, left: float) -> Answer:
        seen.append((versions(there), len(there.look().instances)))
        return Answer(True, "")

    result = rotation(there, group, ask=ask).rotate()
    assert (result.ending, result.highest, result.lowest) == (Ending.ROTATED, 8, 4)
    assert seen == [(["1.0.2"] * 4, 4)]


def test_the_group_is_scaled_on_the_same_path() -> None:
    there = platform()
    there.limits = bounds(GROUP.policy, 6, stop_first=False)
    larger = rotation(there, replace(GROUP, size=6))
    larger.release = OLD
    assert larger.rotate().ending is Ending.ROTATED
    assert versions(there) == ["1.0.1"] * 6
    there.limits = bounds(GROUP.policy, 2, stop_first=False)
    smaller = rotation(there, replace(GROUP, size=2))
    smaller.release = OLD
    assert smaller.rotate().ending is Ending.ROTATED
    assert versions(there) == ["1.0.1"] * 2


def test_a_saved_plan_is_not_applied_when_the_group_has_moved() -> None:
    there = platform()
    saved = rotation(there).plan().document()
    there.taint("web-old0", "drifted: 1 file")
    asked = rotation(there)
    asked.saved = saved
    with pytest.raises(DriverError, match="has moved since the plan was made"):
        asked.rotate()
    assert versions(there) == ["1.0.1"] * 4


def test_the_journal_has_a_line_for_each_decision(tmp_path: Path) -> None:
    there = platform()
    asked = rotation(there)
    asked.journal.path = tmp_path / "groups" / "web.log"
    asked.rotate()
    lines = asked.journal.path.read_text("utf-8").splitlines()
    assert lines == asked.journal.lines
    events = [line.split()[2] for line in lines]
    assert (events[0], events[-1]) == ("begin", "done")
    assert sum("decide   start" in line for line in lines) == 4
    assert there.broken_rules == []
