# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stays when versions are pruned, whatever the catalog holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.channel import Channel, Move
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.documents import render_time
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.group_record import GroupRecord
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.retention import (
    Decision,
    Kept,
    RetentionPolicy,
    plan_retention,
    with_bytes,
)
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.version import Version
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 8, 1, tzinfo=UTC)
IMAGES = ("base", "shop", "web")


def version(
    image: str, patch: int, age: float = 100, parent: tuple[str, str] | None = None
) -> Version:
    return Version(
        image=image,
        number=f"1.0.{patch}",
        index=f"sha256:{image}{patch}",
        config="c",
        bake_key="k",
        definition_digest="d",
        definition_revision=None,
        created="2026-01-01T00:00:00Z",
        size=1,
        base="image" if parent else "debootstrap",
        parent=parent[0] if parent else None,
        parent_version=parent[1] if parent else None,
        recorded=render_time(NOW - timedelta(days=age)),
    )


def channel(name: str, *numbers: str) -> Channel:
    return Channel(
        name, tuple(Move(number, "2026-01-01T00:00:00Z", "a", "b") for number in numbers)
    )


@st.composite
def catalogs(draw: st.DrawFn) -> dict[str, object]:
    """Draw versions, some built on those of the image before, and what may keep them."""
    versions: list[Version] = []
    for place, image in enumerate(IMAGES):
        below = [one for one in versions if one.image == IMAGES[place - 1]] if place else []
        for patch in range(1, draw(st.integers(0, 6)) + 1):
            parent = draw(st.sampled_from([None, *below])) if below else None
            built_on = (parent.image, parent.number) if parent else None
            versions.append(version(image, patch, draw(st.integers(0, 90)), built_on))
    numbers = st.sampled_from([f"1.0.{patch}" for patch in range(1, 8)])
    images = {
        image: Kept(
            {"prod": channel("prod", *draw(st.lists(numbers, min_size=1, max_size=5)))}
            if draw(st.booleans())
            else {},
            draw(st.sets(numbers)),
            draw(st.dictionaries(numbers, st.just("audit"), max_size=2)),
        )
        for image in IMAGES
    }
    groups = [
        GroupRecord("g", draw(st.sampled_from(IMAGES)), (draw(numbers),), (draw(numbers),))
        for _number in range(draw(st.integers(0, 2)))
    ]
    policy = RetentionPolicy(
        draw(st.integers(0, 3)), draw(st.integers(0, 60)), draw(st.integers(1, 3))
    )
    referred = {one.index: "web.lock.yml" for one in versions if draw(st.integers(0, 9)) == 0}
    return {
        "versions": versions,
        "images": images,
        "groups": groups,
        "policy": policy,
        "referred": referred,
    }


def plan(found: dict[str, object], **more: object) -> tuple[Decision, ...]:
    return plan_retention(**{**found, "now": NOW, **more})  # type: ignore[arg-type]


@given(catalogs())
def test_what_is_in_use_never_goes(found: dict[str, object]) -> None:
    gone = {one.key for one in plan(found) if not one.keep}
    images: dict[str, Kept] = found["images"]  # type: ignore[assignment]
    policy: RetentionPolicy = found["policy"]  # type: ignore[assignment]
    for image, kept in images.items():
        for one in kept.channels.values():
            assert not {(image, number) for number in one.history[: policy.channel]} & gone
        assert not {(image, number) for number in kept.pins or {}} & gone
    for group in found["groups"]:  # type: ignore[attr-defined]
        assert not {(group.image, n) for n in (*group.running, *group.previous[:1])} & gone
    for one in found["versions"]:  # type: ignore[attr-defined]
        if one.index in found["referred"]:  # type: ignore[operator]
            assert (one.image, one.number) not in gone


@given(catalogs())
def test_no_version_that_stays_loses_its_base(found: dict[str, object]) -> None:
    decisions = {one.key: one.keep for one in plan(found)}
    for one in found["versions"]:  # type: ignore[attr-defined]
        base = (one.parent, one.parent_version)
        if decisions[one.image, one.number] and base in decisions:
            assert decisions[base]


@given(catalogs())
def test_the_last_ones_and_the_young_ones_stay(found: dict[str, object]) -> None:
    kept = {one.key for one in plan(found) if one.keep}
    policy: RetentionPolicy = found["policy"]  # type: ignore[assignment]
    images: dict[str, Kept] = found["images"]  # type: ignore[assignment]
    for image in IMAGES:
        mine = [one for one in found["versions"] if one.image == image]  # type: ignore[attr-defined]
        usable = [one.number for one in mine if one.number not in images[image].revoked]
        assert {(image, n) for n in usable[len(usable) - policy.last :] if policy.last} <= kept
    for one in found["versions"]:  # type: ignore[attr-defined]
        age = NOW - datetime.fromisoformat(one.recorded)
        assert age >= timedelta(days=policy.days) or (one.image, one.number) in kept


@given(catalogs())
def test_each_version_is_decided_once_and_says_why(found: dict[str, object]) -> None:
    decisions = plan(found)
    keys = [one.key for one in decisions]
    assert len(keys) == len(set(keys)) == len(found["versions"])  # type: ignore[arg-type]
    assert all(one.rules for one in decisions)


@given(catalogs())
def test_to_prune_twice_is_to_prune_once(found: dict[str, object]) -> None:
    kept = {one.key for one in plan(found) if one.keep}
    left = [v for v in found["versions"] if (v.image, v.number) in kept]  # type: ignore[attr-defined]
    assert all(one.keep for one in plan({**found, "versions": left}))


@given(catalogs(), st.integers(0, 3), st.integers(0, 30), st.integers(0, 2))
def test_to_keep_more_lets_nothing_else_go(
    found: dict[str, object], last: int, days: int, history: int
) -> None:
    policy: RetentionPolicy = found["policy"]  # type: ignore[assignment]
    more = RetentionPolicy(policy.last + last, policy.days + days, policy.channel + history)
    before = {one.key for one in plan(found) if one.keep}
    assert before <= {one.key for one in plan(found, policy=more) if one.keep}


BLOBS = st.dictionaries(st.sampled_from("abcdefgh"), st.just(None), max_size=5)


@given(st.lists(st.tuples(st.booleans(), BLOBS), max_size=8), st.sets(st.sampled_from("abcdefgh")))
def test_bytes_are_those_that_nothing_else_has_each_counted_once(
    rows: list[tuple[bool, dict[str, None]]], held: set[str]
) -> None:
    sizes = {name: 1 << place for place, name in enumerate("abcdefgh")}
    decisions = [Decision("web", f"1.0.{n}", keep, ("r",)) for n, (keep, _b) in enumerate(rows)]
    blobs = {
        d.key: {b: sizes[b] for b in mine} for d, (_k, mine) in zip(decisions, rows, strict=True)
    }
    counted = with_bytes(decisions, blobs, held)
    staying = held.union(*(mine for keep, mine in rows if keep)) if rows else held
    going = set().union(*(mine for keep, mine in rows if not keep)) - staying
    assert sum(one.bytes for one in counted) == sum(sizes[name] for name in going)
    assert all(one.bytes == 0 for one in counted if one.keep)
    assert [one.key for one in counted] == [one.key for one in decisions]


def test_the_rules_are_named() -> None:
    versions = [version("base", 1), version("base", 2)]
    versions += [
        version("web", n, parent=("base", "1.0.1") if n == 3 else None) for n in range(1, 8)
    ]
    decisions = plan_retention(
        versions,
        images={
            "web": Kept(
                {"prod": channel("prod", "1.0.3", "1.0.2", "1.0.1")}, {"1.0.7"}, {"1.0.4": "audit"}
            )
        },
        groups=[GroupRecord("blue", "web", ("1.0.5",), ("1.0.1", "1.0.4"))],
        referred={},
        policy=RetentionPolicy(last=1, days=30, channel=2),
        now=NOW,
    )
    assert {f"{one.image} {one.number}": (one.keep, "; ".join(one.rules)) for one in decisions} == {
        "base 1.0.1": (True, "base of web 1.0.3"),
        "base 1.0.2": (True, "among the last 1"),
        "web 1.0.1": (True, "the group blue ran it last"),
        "web 1.0.2": (True, "prod pointed to it"),
        "web 1.0.3": (True, "prod points to it"),
        "web 1.0.4": (True, "pinned: audit"),
        "web 1.0.5": (True, "the group blue runs it"),
        "web 1.0.6": (True, "among the last 1"),
        "web 1.0.7": (False, "revoked, and nothing needs it"),
    }


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        ({"latest": 3}, "latest is unknown"),
        ({"last": -1}, "last is -1"),
        ({"last": 1.5}, "last is 1.5"),
        ({"channel": 0}, "channel is 0"),
        ({"days": True}, "days is True"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(document: dict[str, object], wrong: str) -> None:
    with pytest.raises(DriverError, match=f"retention.yml: {wrong}"):
        RetentionPolicy.from_document(document, "retention.yml")
