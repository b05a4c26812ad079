# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version a promotion takes, where it goes, and what stops it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.changes import (
    Promotion,
    Withdrawal,
    promote,
    reinstate,
    revoke,
)
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError


@pytest.fixture
def catalog(shelf: Any) -> Catalog:
    """A catalog with web 1.0.1 to 1.0.3."""
    made: Catalog = shelf.catalog()
    for number in (1, 2, 3):
        shelf.record(made, number)
    return made


def go(catalog: Catalog, *words: str, **more: Any) -> tuple[str, str, bool]:
    version, channel = (*words, None, None)[:2]
    plan = promote(catalog, Promotion("web", "because", version, channel, **more))
    return plan.version, plan.channel, plan.changes


def test_without_more_the_newest_goes_to_the_first_channel(catalog: Catalog) -> None:
    assert go(catalog) == ("1.0.3", "dev", True)


def test_a_version_goes_on_to_the_next_channel(catalog: Catalog) -> None:
    steps = [go(catalog, "1.0.2") for _number in range(4)]
    assert steps == [
        ("1.0.2", "dev", True),
        ("1.0.2", "staging", True),
        ("1.0.2", "prod", True),
        ("1.0.2", "prod", False),
    ]


def test_a_channel_takes_what_the_one_before_has(catalog: Catalog) -> None:
    go(catalog, "1.0.1", "dev")
    plan = promote(catalog, Promotion("web", "because", channel="staging"))
    assert (plan.version, plan.channel) == ("1.0.1", "staging")


def test_a_channel_whose_predecessor_is_empty_takes_nothing_by_itself(catalog: Catalog) -> None:
    with pytest.raises(DriverError, match="staging of web, which comes before prod, points to"):
        promote(catalog, Promotion("web", "because", channel="prod"))


def test_the_history_of_a_channel_is_kept(catalog: Catalog) -> None:
    for number in ("1.0.1", "1.0.3", "1.0.1"):
        go(catalog, number, "prod")
    channel = catalog.channels("web")["prod"]
    assert [move.version for move in channel.moves] == ["1.0.1", "1.0.3", "1.0.1"]
    assert channel.history == ("1.0.1", "1.0.3")
    assert channel.moves[0].by == "kiln <kiln@localhost>"
    assert channel.moves[0].at == "2026-08-01T12:00:00Z"


def test_a_step_back_is_said_to_be_one(catalog: Catalog) -> None:
    go(catalog, "1.0.3", "prod")
    assert promote(catalog, Promotion("web", "why", "1.0.1", "prod")).is_step_back


def test_the_order_is_what_the_catalog_says(catalog: Catalog) -> None:
    (catalog.root / "channels.yml").write_text("channels: [{name: edge}, {name: stable}]\n")
    assert go(catalog) == ("1.0.3", "edge", True)
    with pytest.raises(DriverError, match="no channel prod; there are edge, stable"):
        go(catalog, "1.0.3", "prod")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("channels: []\n", "no list of channels"),
        ("channels: [{name: Prod}]\n", "is no channel"),
        ("channels: [{name: '1.0'}]\n", "is no channel"),
        ("channels: [dev, dev]\n", "dev is there twice"),
        ("channels: [{name: dev, colour: red}]\n", "has the unknown colour"),
        ("channels: [{name: dev, policy: 3}]\n", "policy of dev is no mapping"),
    ],
)
def test_settings_that_make_no_sense_are_named(catalog: Catalog, text: str, wrong: str) -> None:
    (catalog.root / "channels.yml").write_text(text)
    with pytest.raises(DriverError, match=f"channels.yml.*{wrong}"):
        go(catalog)


@pytest.mark.parametrize(
    ("wanted", "wrong"),
    [
        (Promotion("web", " "), "needs a reason"),
        (Promotion("shop", "why"), "no version of shop"),
        (Promotion("web", "why", "1.0.9"), "no version 1.0.9 of web; the newest is 1.0.3"),
        (Promotion("web", "why", "new"), "no version number"),
        (Promotion("web", "why", "1.0.1", "dev", "1.0.2"), "points to nothing, not to 1.0.2"),
    ],
)
def test_what_cannot_be_promoted_is_explained(
    catalog: Catalog, wanted: Promotion, wrong: str
) -> None:
    with pytest.raises(DriverError, match=wrong):
        promote(catalog, wanted)


def test_every_rule_that_fails_is_named(catalog: Catalog) -> None:
    revoke(catalog, Withdrawal("web", "1.0.2", "a key is in it"))
    settings = "channels: [{name: prod, policy: {signatures: 2}}]\n"
    (catalog.root / "channels.yml").write_text(settings)
    seen = []

    def judge(version: Any, channel: str, policy: Any) -> list[str]:
        seen.append((version.number, channel, dict(policy)))
        return ["One is signed.", "The other is not."]

    with pytest.raises(DriverError) as failed:
        promote(catalog, Promotion("web", "why", "1.0.2"), judge=judge)
    assert failed.value.details["failures"] == [
        "It is revoked (a key is in it).",
        "One is signed.",
        "The other is not.",
    ]
    assert seen == [("1.0.2", "prod", {"signatures": 2})]
    assert catalog.channels("web") == {}


def test_to_look_changes_nothing_and_says_the_same(catalog: Catalog, shelf: Any) -> None:
    before = shelf.git(catalog, "rev-parse", "HEAD")
    looked = promote(catalog, Promotion("web", "why"), look=True)
    assert shelf.git(catalog, "rev-parse", "HEAD") == before
    assert promote(catalog, Promotion("web", "why")) == looked


def test_what_is_built_on_a_revoked_version_is_refused_too(catalog: Catalog, shelf: Any) -> None:
    shop = shelf.record(catalog, 7, image="shop", parent="web", parent_version="1.0.1")
    shelf.record(catalog, 8, image="shelf", parent="shop", parent_version=shop.number)
    plan = revoke(catalog, Withdrawal("web", "1.0.1", "bad"))
    assert plan.descendants == (("shelf", "1.0.1"), ("shop", "1.0.1"))
    with pytest.raises(DriverError, match=r"shelf 1.0.1 may not go to dev: web 1.0.1 is revoked"):
        promote(catalog, Promotion("shelf", "why", "1.0.1"))
    assert reinstate(catalog, "web", "1.0.1", reason="It was another one")
    assert promote(catalog, Promotion("shelf", "why")).version == "1.0.1"
    assert not reinstate(catalog, "web", "1.0.1", reason="again")


def test_the_newest_is_the_newest_that_is_not_revoked(catalog: Catalog) -> None:
    revoke(catalog, Withdrawal("web", "1.0.3", "bad"))
    assert go(catalog) == ("1.0.2", "dev", True)


def test_a_revocation_for_later_does_not_hold_yet(catalog: Catalog) -> None:
    later = catalog.now().replace(year=2027)
    plan = revoke(catalog, Withdrawal("web", "1.0.3", "end of life", at=later))
    assert plan.revocation is not None
    assert plan.revocation.at == "2027-08-01T12:00:00Z"
    assert go(catalog) == ("1.0.3", "dev", True)
    version = catalog.version("web", "1.0.3")
    assert version is not None
    assert catalog.revocation_of(version) is None
    assert catalog.revocation_of(version, later) is not None


def test_a_channel_that_points_to_a_revoked_version_is_reported(catalog: Catalog) -> None:
    go(catalog, "1.0.2", "dev")
    plan = revoke(catalog, Withdrawal("web", "1.0.2", "bad"))
    assert [(one.channel, one.version, one.target) for one in plan.stranded] == [
        ("dev", "1.0.2", None)
    ]
    assert catalog.channels("web")["dev"].version == "1.0.2"


def test_channels_go_back_in_the_same_commit(catalog: Catalog, shelf: Any) -> None:
    for number in ("1.0.1", "1.0.3", "1.0.2"):
        go(catalog, number, "dev")
    revoke(catalog, Withdrawal("web", "1.0.3", "bad"))
    before = int(shelf.git(catalog, "rev-list", "--count", "HEAD"))
    plan = revoke(catalog, Withdrawal("web", "1.0.2", "worse", move_back=True))
    assert [(one.channel, one.target) for one in plan.moves] == [("dev", "1.0.1")]
    assert int(shelf.git(catalog, "rev-list", "--count", "HEAD")) == before + 1
    move = catalog.channels("web")["dev"].moves[0]
    assert (move.version, move.reason) == ("1.0.1", "web 1.0.2 is revoked: worse")


def test_channels_move_to_a_version_that_is_named_unless_it_is_revoked(catalog: Catalog) -> None:
    go(catalog, "1.0.2", "dev")
    with pytest.raises(DriverError, match=r"web 1.0.2 is revoked too"):
        revoke(catalog, Withdrawal("web", "1.0.2", "bad", move_to="1.0.2"))
    revoke(catalog, Withdrawal("web", "1.0.2", "bad", move_to="1.0.3"))
    assert catalog.channels("web")["dev"].version == "1.0.3"


def test_to_revoke_twice_is_to_revoke_once(catalog: Catalog, shelf: Any) -> None:
    revoke(catalog, Withdrawal("web", "1.0.1", "bad"))
    before = shelf.git(catalog, "rev-parse", "HEAD")
    assert revoke(catalog, Withdrawal("web", "1.0.1", "bad")).revocation is None
    assert shelf.git(catalog, "rev-parse", "HEAD") == before


def test_what_is_not_there_cannot_be_revoked(catalog: Catalog) -> None:
    with pytest.raises(DriverError, match=r"no version 1.0.9 of web"):
        revoke(catalog, Withdrawal("web", "1.0.9", "bad"))
    with pytest.raises(DriverError, match="needs a reason"):
        revoke(catalog, Withdrawal("web", "1.0.1", ""))
