# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Of the images of a bake that share a layer one makes it, and the others wait for that one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.chain import (
    Chain,
    LayerStep,
    link,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.claims import (
    await_shared_layers,
    claim,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import (
    BaseRecord,
    LayerRecord,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.session import Session
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

BASE = BaseRecord("base", (), 1_700_000_000, "bookworm", "amd64", 1.0)


class Bake:
    """A session in which images are at work, and a clock: each look takes what comes next."""

    def __init__(self, folder: Path) -> None:
        (folder / "open").touch()
        self.session = Session("s", folder)
        self.made: dict[str, LayerRecord] = {}
        self.said: list[str] = []
        self.events: list[Callable[[], object]] = []

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float, /) -> None:
        self.events.pop(0)()

    def chain(self, *names: str) -> Chain:
        steps = [LayerStep(name, f"roles/{name}", {}) for name in names]
        return Chain(BASE, "base", link("base", steps, self.made.get))

    def make(self, chain: Chain, position: int) -> None:
        one = chain.links[position]
        self.made[one.key] = LayerRecord(one.key, one.step.name, None, 1.0, {})

    def begin(self, image: str, *names: str) -> Chain:
        self.session.write(image, {"status": "building"})
        return await_shared_layers(
            self.session,
            image,
            self.chain(*names),
            lambda: self.chain(*names),
            self.made.__contains__,
            self.said.append,
            clock=self,
        )


@pytest.fixture
def bake(tmp_path: Path) -> Bake:
    return Bake(tmp_path)


def pending(chain: Chain) -> list[str]:
    return [one.step.name for one in chain.pending]


def test_the_first_makes_the_layers_and_waits_for_nobody(bake: Bake) -> None:
    assert pending(bake.begin("a", "base", "app")) == ["base", "app"]
    assert bake.said == []


def test_others_take_the_shared_layers_and_make_their_own(bake: Bake) -> None:
    of_a = bake.begin("a", "base", "hardening", "app")
    bake.events = [
        lambda: None,
        lambda: bake.make(of_a, 0),
        lambda: bake.make(of_a, 1),
    ]
    assert pending(bake.begin("b", "base", "hardening", "site")) == ["site"]
    assert bake.said == ["waiting for a, which makes the same layer base"]
    assert bake.events == []


def test_an_image_that_shares_nothing_does_not_wait(bake: Bake) -> None:
    bake.begin("a", "base", "app")
    assert pending(bake.begin("b", "other", "app")) == ["other", "app"]


@pytest.mark.parametrize("end", ["failed", "sealed"])
def test_a_maker_that_ends_without_the_layer_is_followed_by_who_waits(bake: Bake, end: str) -> None:
    bake.begin("a", "base", "app")
    bake.events = [lambda: bake.session.write("a", {"status": end})]
    assert pending(bake.begin("b", "base", "site")) == ["base", "site"]
    # And the next one waits for the second.
    assert claim(bake.session, "c", [one.key for one in bake.chain("base").links]) == "b"


def test_a_maker_that_is_forgotten_is_followed_too(bake: Bake) -> None:
    bake.begin("a", "base")
    bake.events = [lambda: bake.session.forget("a")]
    assert pending(bake.begin("b", "base")) == ["base"]


def test_an_image_that_has_all_layers_claims_none(bake: Bake) -> None:
    bake.make(bake.chain("base"), 0)
    assert pending(bake.begin("a", "base")) == []
    assert not (bake.session.folder / "claims").exists()


def test_who_claims_again_keeps_what_it_has(bake: Bake) -> None:
    keys = [one.key for one in bake.chain("base", "app").links]
    bake.session.write("a", {"status": "building"})
    assert [claim(bake.session, "a", keys), claim(bake.session, "a", keys)] == [None, None]


def test_a_bake_that_has_ended_is_not_waited_in(bake: Bake) -> None:
    bake.begin("a", "base")

    def die() -> None:
        (bake.session.folder / "open").unlink()

    bake.events = [die, lambda: pytest.fail("it still waits")]
    with pytest.raises(DriverError, match="has ended"):
        bake.begin("b", "base")
