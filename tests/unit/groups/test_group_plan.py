# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans: what becomes of each instance and why, and what that costs on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.groups.judgement import (
    Fate,
    Wanted,
    judge,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import (
    Health,
    Instance,
    Life,
    Observed,
    Release,
    Traffic,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.plan_text import render
from ansible_collections.kiln.immutable.plugins.module_utils.groups.planner import (
    RotationPlan,
    check_basis,
    plan_rotation,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.policy import Amount, Policy
from hypothesis import given
from hypothesis import strategies as st

DAY = 86_400.0
NOW = 100 * DAY
NEW = Release("web", "1.0.2", "sha256:2", "kiln/web:1.0.2")
WANTED = Wanted("web", NEW, "settings", 3, Policy())


def instance(name: str, **changes: object) -> Instance:
    plain = Instance(
        name,
        "1.0.2",
        "sha256:2",
        "settings",
        Life.RUNNING,
        Health.PASSING,
        Traffic.READY,
        created=NOW - DAY,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def old(name: str, **changes: object) -> Instance:
    return instance(name, version="1.0.1", digest="sha256:1", **changes)


def plan(*instances: Instance, wanted: Wanted = WANTED) -> RotationPlan:
    return plan_rotation(Observed(instances, now=NOW), wanted)


REASONS = [
    (old("a"), "image digest forces replacement (1.0.1 -> 1.0.2)"),
    (instance("a", settings="others"), "settings force replacement"),
    (instance("a", tainted="drifted: 3 files"), "drifted: 3 files"),
    (instance("a", life=Life.STOPPED, exit_status=137), "it ended with status 137"),
    (instance("a", created=NOW - 31 * DAY), "older than 30 d"),
    (instance("a", host="gone"), "its host gone is none of the group's any more"),
    (instance("a", health=Health.FAILING, detail="status 503"), "it is unhealthy: status 503"),
]


@pytest.mark.parametrize(("one", "reason"), REASONS, ids=[reason for _one, reason in REASONS])
def test_an_instance_is_replaced_for_its_reason(one: Instance, reason: str) -> None:
    wanted = replace(WANTED, policy=Policy(max_lifetime=30 * DAY))
    found = judge(Observed((one, instance("b"), instance("c")), now=NOW), wanted)
    assert [(verdict.fate, verdict.reason) for verdict in found] == [
        (Fate.REPLACE, reason),
        (Fate.KEEP, ""),
        (Fate.KEEP, ""),
    ]


def test_a_group_as_it_is_wanted_needs_nothing() -> None:
    found = plan(instance("a"), instance("b"), instance("c"))
    assert not found.changes
    assert render(found) == ["web: web 1.0.2, 3 instances", "  Nothing changes."]


def test_a_plan_says_who_goes_when_and_what_it_costs() -> None:
    found = plan(old("web-1"), old("web-2", tainted="drifted: 3 files"), instance("web-3"))
    assert render(found) == [
        "web: web 1.0.2, 3 instances",
        "",
        "  ± web-1  is replaced: image digest forces replacement (1.0.1 -> 1.0.2)",
        "  ± web-2  is replaced: image digest forces replacement (1.0.1 -> 1.0.2)",
        "    web-3  is kept",
        "",
        "    1. start 1: at least 3 serve, at most 4 run",
        "    2. drain and stop 1 (web-2): at least 3 serve, at most 4 run",
        "    3. start 1: at least 3 serve, at most 4 run",
        "    4. drain and stop 1 (web-1): at least 3 serve, at most 4 run",
        "",
        "  Plan: 2 to start, 2 to replace, 0 to remove, 1 to keep.",
        "  Lowest capacity 3 of 3, highest count 4, expected time 32 s.",
    ]


def test_an_exclusive_volume_is_handed_over_stop_first_and_the_plan_says_so() -> None:
    wanted = replace(WANTED, stop_first=True, policy=Policy(max_unavailable=Amount(1)))
    found = plan(*(old(f"web-{slot}", slot=slot) for slot in range(3)), wanted=wanted)
    assert (found.lowest, found.highest) == (2, 3)
    assert "An exclusive volume is handed over stop-first" in "\n".join(render(found))


def test_a_smaller_group_loses_its_oldest_instances() -> None:
    found = plan(
        instance("a"),
        instance("b", created=NOW - 2 * DAY),
        instance("c"),
        wanted=replace(WANTED, size=2),
    )
    assert [(one.instance.id, one.reason) for one in found.of(Fate.REMOVE)] == [
        ("b", "the group is to have 2 instances")
    ]
    assert found.begins == 0


def test_ages_end_apart() -> None:
    wanted = replace(WANTED, size=50, policy=Policy(max_lifetime=30 * DAY, jitter=20))
    many = [instance(f"web-{number}", created=NOW - 27 * DAY) for number in range(50)]
    going = [one for one in judge(Observed(tuple(many), now=NOW), wanted) if one.reason]
    assert 10 < len(going) < 40


def test_a_saved_plan_holds_only_while_nothing_moves() -> None:
    saved = plan(old("a"), instance("b"), instance("c")).document()
    later = Observed((old("a", health=Health.UNKNOWN), instance("b"), instance("c")), now=NOW + 60)
    check_basis(saved, plan_rotation(later, WANTED))
    with pytest.raises(DriverError, match="has moved since the plan was made: c is gone, d has"):
        check_basis(saved, plan(old("a"), instance("b"), instance("d")))
    with pytest.raises(DriverError, match="the size is 4, not 3"):
        check_basis(
            saved, plan(old("a"), instance("b"), instance("c"), wanted=replace(WANTED, size=4))
        )


@given(
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(1, 12),
    st.integers(0, 5),
    st.integers(0, 5),
    st.none() | st.integers(1, 5),
)
def test_a_plan_keeps_the_bounds_and_accounts_for_everyone(
    outdated: int, current: int, size: int, surge: int, missing: int, batch: int | None
) -> None:
    policy = Policy(
        max_surge=Amount(surge or (not missing)),
        max_unavailable=Amount(missing),
        batch=None if batch is None else Amount(batch),
    )
    wanted = replace(WANTED, size=size, policy=policy)
    there = [old(f"old-{number}") for number in range(outdated)]
    there += [instance(f"new-{number}") for number in range(current)]
    found = plan(*there, wanted=wanted)
    ends = [name for step in found.steps for name in step.ends]
    assert sorted(ends) == sorted(
        one.instance.id for one in found.verdicts if one.fate is not Fate.KEEP
    )
    assert sum(step.begins for step in found.steps) == found.begins
    assert found.highest <= max(outdated + current, wanted.bounds.most)
    assert found.lowest >= min(outdated + current, wanted.bounds.floor)
