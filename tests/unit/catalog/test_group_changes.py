# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a group runs and ran is in the catalog, a commit for each change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.check import check_catalog
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.group_changes import (
    GroupState,
    forget_group,
    group,
    plan_record,
    record_group,
)
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.group_record import GroupRecord
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Shelf, index


def running(*numbers: str, instances: int = 3) -> GroupState:
    return GroupState("shop", "web", numbers, instances, "prod")


def history(*states: tuple[str, ...]) -> GroupRecord:
    """Return the record after the group was seen to run each of *states*."""
    record = None
    for at, state in enumerate(states):
        record = plan_record(running(*state), record, digest=state[0], by="Ann", at=str(at))
    assert record is not None
    return record


def test_a_rotation_leaves_what_it_replaced_to_go_back_to() -> None:
    begun = history(("1.0.1",), ("1.0.2", "1.0.1"))
    assert (begun.running, begun.settled, begun.previous) == (("1.0.2", "1.0.1"), "1.0.1", ())
    over = history(("1.0.1",), ("1.0.2", "1.0.1"), ("1.0.2",))
    assert (over.running, over.settled, over.previous) == (("1.0.2",), "1.0.2", ("1.0.1",))


def test_what_a_rotation_gave_up_is_nothing_to_go_back_to() -> None:
    record = history(("1.0.1",), ("1.0.2",), ("1.0.3", "1.0.2"), ("1.0.2",))
    assert (record.settled, record.previous) == ("1.0.2", ("1.0.1",))


def test_going_back_swaps_the_two() -> None:
    record = history(("1.0.1",), ("1.0.2",), ("1.0.1", "1.0.2"), ("1.0.1",))
    assert (record.settled, record.previous) == ("1.0.1", ("1.0.2",))


def test_another_image_has_a_history_of_its_own() -> None:
    before = history(("1.0.1",), ("1.0.2",))
    state = GroupState("shop", "api", ("3.0.0",), 2)
    record = plan_record(state, before, digest="d", by="Ann", at="9")
    assert (record.image, record.previous, record.since) == ("api", (), "9")


def test_the_count_of_instances_does_not_change_since_when_it_runs() -> None:
    before = history(("1.0.1",))
    more = plan_record(running("1.0.1", instances=5), before, digest="1.0.1", by="Bob", at="7")
    assert more == replace(before, instances=5, updated="7", by="Bob")
    assert plan_record(running("1.0.1"), before, digest="1.0.1", by="Bob", at="7") is before


@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3), min_size=1))
def test_whatever_happened_the_last_rest_is_known_and_kept(states: list[list[str]]) -> None:
    record = history(*(tuple(state) for state in states))
    assert GroupRecord.from_document(record.as_document(), "here") == record
    assert set(record.running) <= record.needed.keys()
    at_rest = [state[0] for state in states if len(set(state)) == 1]
    assert record.settled == (at_rest[-1] if at_rest else None)
    assert record.settled not in record.previous
    assert set(record.previous) <= set(at_rest)
    assert set(record.previous[:1]) <= record.needed.keys()


def test_each_change_is_a_commit_that_says_why(shelf: Shelf) -> None:
    catalog = shelf.catalog(shared=True)
    for number in (1, 2):
        shelf.record(catalog, number)
    assert record_group(catalog, running("1.0.1"))[1]
    record, is_new = record_group(catalog, running("1.0.2", "1.0.1"), reason="Canary")
    assert is_new
    assert record.digest == index(2)
    assert shelf.git(shelf.remote, "log", "-1", "--format=%B", "main") == (
        "shop runs web 1.0.2 and 1.0.1 (3 instances)\n\nCanary"
    )
    assert record_group(catalog, running("1.0.2", "1.0.1"), reason="Again") == (record, False)
    assert catalog.groups() == [record]
    assert check_catalog(catalog) == []


def test_looking_writes_nothing(shelf: Shelf) -> None:
    catalog = shelf.catalog()
    shelf.record(catalog, 1)
    head = shelf.git(catalog, "rev-parse", "HEAD")
    record, is_new = record_group(catalog, running("1.0.1"), look=True)
    assert (record.running, is_new) == (("1.0.1",), True)
    assert catalog.groups() == []
    record_group(catalog, running("1.0.1"))
    assert forget_group(catalog, "shop", look=True)
    assert group(catalog, "shop") is not None
    assert shelf.git(catalog, "rev-list", "--count", f"{head}..HEAD") == "1"


def test_a_group_that_is_gone_is_forgotten_once(shelf: Shelf) -> None:
    catalog = shelf.catalog()
    shelf.record(catalog, 1)
    record_group(catalog, running("1.0.1"))
    assert forget_group(catalog, "shop", reason="Shop closes")
    assert not forget_group(catalog, "shop")
    assert catalog.groups() == []


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        (GroupState("shop", "web", ("9.9.9",), 1), "no version 9.9.9 of web"),
        (GroupState("shop", "web", (), 1), "shop runs no version"),
        (GroupState("../shop", "web", ("1.0.1",), 1), "no name of a group"),
    ],
)
def test_a_record_of_what_cannot_be_is_refused(shelf: Shelf, state: GroupState, wrong: str) -> None:
    catalog = shelf.catalog()
    shelf.record(catalog, 1)
    with pytest.raises(DriverError, match=wrong):
        record_group(catalog, state)
