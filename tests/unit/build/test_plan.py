# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bake will do with an image, and the reason it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.chain import (
    Chain,
    LayerStep,
    Link,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.plan import (
    Action,
    ImagePlan,
    plan_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import (
    BakeRecord,
    BaseRecord,
    LayerRecord,
)

BASE = BaseRecord("base", (), 0, "bookworm", "amd64", 1.0)
ENDED = BakeRecord("bake", "web", "1.0.3", "sha256:index", "sha256:config", ("k1", "k2"))


def record(key: str, name: str, **manifest: Any) -> LayerRecord:
    return LayerRecord(key, name, None, 1.0, manifest)


PREVIOUS = (record("k1", "base", zone="UTC"), record("k2", "nginx", port=80))


def chain(*links: tuple[str, str, dict[str, Any]], held: int = 0, why: str = "") -> Chain:
    made = []
    for position, (key, name, manifest) in enumerate(links):
        last = position == len(links) - 1
        step = LayerStep(name, name, manifest, (why,) if why and last else ())
        kept = record(key, name, **manifest) if position < held else None
        made.append(Link(step, key, kept))
    return Chain(BASE, "base", tuple(made))


SAME = (("k1", "base", {"zone": "UTC"}), ("k2", "nginx", {"port": 80}))


def explain(before: Any, after: Any) -> list[str]:
    return [f"{name} {before.get(name)} -> {after[name]}" for name in after if before != after]


def plan(found: Chain | None, **given: Any) -> ImagePlan:
    arguments: dict[str, Any] = {
        "layers": 2,
        "waits_for": None,
        "ended": None,
        "in_engine": False,
        "refresh": False,
        "previous": PREVIOUS,
        "config_changed": False,
        **given,
    }
    return plan_image("web", chain=found, explain=explain, **arguments)


def test_a_bake_that_ended_and_is_in_the_engine_needs_nothing() -> None:
    decided = plan(chain(*SAME, held=2), ended=ENDED, in_engine=True)
    assert decided == ImagePlan("web", Action.NOTHING, "1.0.3", (), 2, 2)


@pytest.mark.parametrize(
    ("found", "given", "reasons"),
    [
        (None, {}, ("its base is not there yet",)),
        (None, {"waits_for": "base"}, ("its base base is baked anew",)),
        (
            chain(*SAME, held=2),
            {"refresh": True, "ended": ENDED, "in_engine": True},
            ("everything is to be made again (kiln_refresh)",),
        ),
        (
            chain(*SAME, held=2),
            {"refresh": True, "makes_lock": True},
            ("everything is made again, for its lock",),
        ),
        (chain(*SAME), {"lock_changed": True}, ("its package lock changed",)),
        (
            chain(*SAME, held=2),
            {"ended": ENDED, "in_engine": True, "unattested": ("its scan is missing",)},
            ("its scan is missing",),
        ),
        (
            chain(*SAME, held=2),
            {"ended": ENDED},
            ("version 1.0.3 is in the store, but not in the engine",),
        ),
        (chain(*SAME), {"previous": ()}, ("it was not baked here before",)),
        (
            chain(SAME[0], ("k3", "nginx", {"port": 81}), held=1),
            {},
            ("nginx: port 80 -> 81",),
        ),
        (
            chain(("k3", "base", {"zone": "CET"}), ("k4", "nginx", {"port": 81})),
            {},
            ("base: zone UTC -> CET",),
        ),
        (
            chain(*SAME, ("k3", "shop", {}), held=2),
            {},
            ("shop: a new layer at place 3",),
        ),
        (
            chain(SAME[0], ("k3", "shop", {}), held=1),
            {},
            ("shop: a new layer at place 2",),
        ),
        (chain(SAME[0], held=1), {}, ("layers were taken away",)),
        (
            chain(("k3", "base", {"zone": "UTC"}), ("k4", "nginx", {"port": 80})),
            {},
            ("base: what it is built on changed",),
        ),
        (
            chain(SAME[0], ("k9", "nginx", {"port": 80}), held=1, why="line 3 asks the time"),
            {},
            ("nginx: line 3 asks the time",),
        ),
        (chain(*SAME, held=2), {"config_changed": True}, ("its configuration changed",)),
        (chain(*SAME, held=1), {}, ("an earlier bake did not end",)),
        (
            chain(*SAME, held=1),
            {"previous": (PREVIOUS[0], None)},
            ("nginx: its layer is gone from the cache",),
        ),
        (
            chain(SAME[0], ("k3", "nginx", {"port": 81}), held=1),
            {"previous": (PREVIOUS[0], None)},
            ("nginx: its layer is gone from the cache",),
        ),
    ],
)
def test_an_image_is_baked_for_a_reason(
    found: Chain | None, given: dict[str, Any], reasons: Sequence[str]
) -> None:
    decided = plan(found, **given)
    assert (decided.action, decided.version) == (Action.BAKE, None)
    assert decided.reasons == reasons


def test_a_plan_says_how_much_comes_from_the_cache() -> None:
    decided = plan(chain(SAME[0], ("k3", "nginx", {"port": 81}), held=1))
    assert (decided.restored, decided.layers) == (1, 2)
    assert decided.as_json() == {
        "name": "web",
        "action": "bake",
        "version": None,
        "reasons": ["nginx: port 80 -> 81"],
        "restored": 1,
        "layers": 2,
    }
