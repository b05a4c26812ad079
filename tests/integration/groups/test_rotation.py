# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody who uses a group notices what is done to it, on either backend."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.groups.policy import Amount
from ansible_collections.kiln.immutable.plugins.module_utils.groups.work import Ending
from ansible_collections.kiln.immutable.tests.integration.groups.group import Group
from ansible_collections.kiln.immutable.tests.integration.groups.load import Knocking, Load
from ansible_collections.kiln.immutable.tests.integration.groups.operated import (
    Pause,
    another,
    in_the_middle,
    present,
    until,
)
from ansible_collections.kiln.immutable.tests.integration.groups.releases import docker

OPERATOR = "ansible_collections.kiln.immutable.tests.integration.groups.operate"
WANTED = 50_000
"""Requests in all, of which none may fail."""

only_docker = pytest.mark.parametrize("group", ["docker"], indirect=True)
"""What is the engine's or the balancer's matter is the same on the other backend."""

answered: list[int] = []


@pytest.fixture(autouse=True)
def _told(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have the report of a run hold how many requests were answered in each test."""
    before = len(answered)
    yield
    request.node.user_properties.append(("requests", sum(answered[before:])))


def tally(load: Load) -> None:
    """No user was left without an answer."""
    assert load.failed == 0, [one.said for one in load.counted]
    answered.append(load.requests)


def test_a_rotation_and_the_way_back_lose_no_request(group: Group) -> None:
    old, new = present(group), another(group)
    careful = replace(group, policy=replace(group.policy, max_surge=Amount(1)))
    with Load(group.url) as load:
        assert group.rotate(new).ending is Ending.ROTATED
        assert group.versions() == [new, new]
        result = careful.rotate(old)
    assert result.ending is Ending.ROTATED
    assert (result.lowest, result.highest) == (group.size, group.size + 1)
    assert group.versions() == [old, old]
    tally(load)


def test_a_release_that_never_gets_healthy_gets_no_request(group: Group) -> None:
    old = present(group)
    short = replace(group, policy=replace(group.policy, start_timeout=5.0))
    with Load(group.url) as load:
        result = short.rotate("sick")
    assert result.ending is Ending.ROLLED_BACK, result.message
    assert "not healthy within 5 s" in result.message
    assert group.versions() == [old, old]
    tally(load)


def test_an_operator_who_is_killed_is_continued_by_the_same_command(group: Group) -> None:
    new = another(group)
    values = {key: getattr(group, key) for key in ("kind", "name", "port", "balancer")}
    values |= {"images": dict(group.images), "journal": str(group.journal)}
    assert set(values) < {one.name for one in dataclasses.fields(group)}
    known = group.journal.read_text().count(" decide ")
    with Load(group.url) as load:
        operator = subprocess.Popen(
            [sys.executable, "-m", OPERATOR, json.dumps(values), new],
            env=dict(os.environ),
            start_new_session=True,
        )
        until("a decision", lambda: group.journal.read_text().count(" decide ") > known)
        os.killpg(operator.pid, signal.SIGKILL)
        assert operator.wait() == -signal.SIGKILL
        assert group.rotate(new).ending is Ending.ROTATED
    assert group.versions() == [new, new]
    tally(load)


@only_docker
def test_a_release_that_ends_after_it_was_ready_is_taken_back(group: Group) -> None:
    old = present(group)
    # Longer than it lives: until then the old instances stay.
    watched = replace(group, policy=replace(group.policy, min_ready=10.0))
    # A slow answer that was half given cannot be given again by another instance.
    with Load(group.url, slow=False) as load:
        result = watched.rotate("dying")
    assert result.ending is Ending.ROLLED_BACK, result.message
    assert result.started >= 1
    assert group.versions() == [old, old]
    tally(load)


@only_docker
def test_an_instance_that_ignores_its_stop_signal_is_drained_and_killed(group: Group) -> None:
    old = present(group)
    with Load(group.url) as load:
        assert group.rotate("stubborn").ending is Ending.ROTATED
        assert group.rotate(old).ending is Ending.ROTATED
    assert group.versions() == [old, old]
    tally(load)


@only_docker
def test_a_balancer_that_is_started_again_knows_what_it_did(group: Group) -> None:
    new = another(group)
    backend = group.backend()
    director = backend.director()
    assert director is not None

    def restart() -> None:
        director.balancer.states()
        director.balancer.reload()

    # Two that write what a balancer is to do at the same time are what the group's lock prevents.
    pause = Pause(group, restart)
    with Load(group.url) as load:
        assert group.rotate(new, clock=pause).ending is Ending.ROTATED
    backend.close()
    assert pause.done
    assert group.versions() == [new, new]
    tally(load)


@only_docker
def test_a_rotation_goes_on_when_the_balancer_was_away(group: Group) -> None:
    new = another(group)
    times: list[float] = []

    def restart() -> None:
        times.append(time.monotonic())
        docker("restart", "--time", "1", f"kiln-{group.name}-balancer")
        times.append(time.monotonic())

    def served_again() -> bool:
        return sum(well and sent > times[1] for sent, well in list(user.answered)) > 1

    with Knocking(group.url) as user:
        result = in_the_middle(group, new, restart)
        # The engine may take longer to say that it is back than the rotation to end.
        until("a user to be served again", served_again)
    assert result.ending is Ending.ROTATED, result.message
    assert group.versions() == [new, new]
    went, came = times
    back = next(sent for sent, well in user.answered if well and sent > came)
    lost = [sent for sent, well in user.answered if not well]
    # A request may have been on its way when the balancer went.
    assert [sent for sent in lost if not went - 1 < sent < back] == []
    assert any(well for sent, well in user.answered if sent > back)


@only_docker
def test_a_second_operator_is_told_who_is_at_it(group: Group) -> None:
    new = another(group)
    refused: list[DriverError] = []

    def second() -> None:
        with pytest.raises(DriverError) as error:
            group.rotate(new, holder="the second")
        refused.append(error.value)

    with Load(group.url) as load:
        assert in_the_middle(group, new, second).ending is Ending.ROTATED
    assert "is being changed by tester@" in refused[0].message
    assert group.versions() == [new, new]
    tally(load)


def test_so_many_requests_were_answered_meanwhile() -> None:
    assert sum(answered) >= WANTED, answered
