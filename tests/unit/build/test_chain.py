# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of layers: what they stand for, and what of a chain the cache gives back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.chain import (
    LayerStep,
    Link,
    bake_key,
    base_chain_key,
    link,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import (
    BaseRecord,
    LayerRecord,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import Descriptor
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer
from hypothesis import given
from hypothesis import strategies as st


def layer(number: int) -> Layer:
    blob = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", f"sha256:{number:064x}", 1)
    return Layer(blob, f"sha256:{number:064x}", 10)


BASE = BaseRecord("base", (layer(1),), 1_700_000_000, "bookworm", "amd64", 1.0)


def step(name: str, *, uncacheable: tuple[str, ...] = (), **manifest: Any) -> LayerStep:
    return LayerStep(name, f"roles/{name}", manifest, uncacheable)


STEPS = (step("one", port=80), step("two", mode="0644"), step("three"))


def keys(links: tuple[Link, ...]) -> list[str]:
    return [one.key for one in links]


def recorded(links: tuple[Link, ...]) -> dict[str, LayerRecord]:
    return {
        one.key: LayerRecord(one.key, one.step.name, None, 1.0, one.step.manifest) for one in links
    }


def nothing(_key: str) -> LayerRecord | None:
    return None


def test_the_same_steps_on_the_same_base_have_the_same_keys() -> None:
    assert keys(link("base", STEPS, nothing)) == keys(link("base", STEPS, nothing))


def test_every_layer_has_a_key_of_its_own() -> None:
    assert len(set(keys(link("base", (step("a"), step("b"), step("c")), nothing)))) == 3


def test_another_base_gives_every_layer_another_key() -> None:
    assert not set(keys(link("one", STEPS, nothing))) & set(keys(link("two", STEPS, nothing)))


def test_a_changed_input_gives_another_key_from_its_layer_on() -> None:
    changed = (STEPS[0], step("two", mode="0600"), STEPS[2])
    before, after = keys(link("base", STEPS, nothing)), keys(link("base", changed, nothing))
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, False]


def test_a_renamed_layer_is_another_layer() -> None:
    assert keys(link("base", [step("a")], nothing)) != keys(link("base", [step("b")], nothing))


def test_what_the_cache_has_is_taken_up_to_the_first_layer_that_it_has_not() -> None:
    whole = recorded(link("base", STEPS, nothing))
    second = list(whole)[1]
    held: Mapping[str, LayerRecord] = {k: v for k, v in whole.items() if k != second}
    records = [one.record is not None for one in link("base", STEPS, held.get)]
    assert records == [True, False, False]


def test_a_whole_chain_in_the_cache_is_taken_whole() -> None:
    held = recorded(link("base", STEPS, nothing))
    assert all(one.record for one in link("base", STEPS, held.get))


def test_a_fresh_bake_takes_nothing_and_keeps_its_keys() -> None:
    held = recorded(link("base", STEPS, nothing))
    fresh = link("base", STEPS, held.get, fresh=True)
    assert keys(fresh) == list(held)
    assert not any(one.record for one in fresh)


def test_an_uncacheable_layer_and_all_after_it_never_have_the_same_key_again() -> None:
    steps = (STEPS[0], step("two", uncacheable=("a lookup",)), STEPS[2])
    first, second = keys(link("base", steps, nothing)), keys(link("base", steps, nothing))
    assert first[0] == second[0]
    assert not set(first[1:]) & set(second[1:])


def test_steps_of_no_layers_have_no_links() -> None:
    assert link("base", (), nothing) == ()


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(BASE, layers=(layer(2),)),
        dataclasses.replace(BASE, layers=(layer(1), layer(2))),
        dataclasses.replace(BASE, epoch=BASE.epoch + 1),
    ],
)
def test_a_base_of_other_content_or_time_gives_another_key(other: BaseRecord) -> None:
    assert base_chain_key(other) != base_chain_key(BASE)


def test_what_a_base_was_called_and_how_long_it_took_gives_no_other_key() -> None:
    other = dataclasses.replace(BASE, key="another mirror", seconds=99.0)
    assert base_chain_key(other) == base_chain_key(BASE)


def test_a_bake_key_is_of_layers_and_configuration() -> None:
    assert bake_key("a", {"user": "x"}) == bake_key("a", {"user": "x"})
    assert len({bake_key("a", {}), bake_key("b", {}), bake_key("a", {"user": "x"})}) == 3


def test_a_step_is_read_back_as_it_was_written() -> None:
    written = step("one", uncacheable=("a sentence",), port=80)
    assert LayerStep.from_json(written.as_json()) == written


@given(st.lists(st.text(max_size=3), max_size=6), st.lists(st.text(max_size=3), max_size=6))
def test_keys_are_shared_exactly_as_far_as_the_steps_are(one: list[str], other: list[str]) -> None:
    left = keys(link("base", [step(name) for name in one], nothing))
    right = keys(link("base", [step(name) for name in other], nothing))
    shared = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        shared += 1
    same = [a == b for a, b in zip(left, right, strict=False)]
    assert same == [position < shared for position in range(len(same))]
