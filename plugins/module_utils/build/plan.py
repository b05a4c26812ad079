# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bake will do with each image, and why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .chain import Chain
from .records import BakeRecord, LayerRecord


class Action(StrEnum):
    """What an image needs."""

    NOTHING = "nothing"
    BAKE = "bake"


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """The decision about one image.

    :param version: the version that is there already, when nothing is to be done.
    :param reasons: why it is baked, a sentence each; empty when nothing is to be done.
    :param restored: how many layers come from the cache.
    """

    name: str
    action: Action
    version: str | None
    reasons: tuple[str, ...]
    restored: int
    layers: int

    def as_json(self) -> dict[str, Any]:
        """The decision as JSON-able values."""
        return {
            "name": self.name,
            "action": str(self.action),
            "version": self.version,
            "reasons": list(self.reasons),
            "restored": self.restored,
            "layers": self.layers,
        }


Explain = Callable[[Mapping[str, object], Mapping[str, object]], Sequence[str]]


def plan_image(
    name: str,
    *,
    layers: int,
    chain: Chain | None,
    waits_for: str | None,
    ended: BakeRecord | None,
    in_engine: bool,
    refresh: bool,
    previous: Sequence[LayerRecord | None],
    config_changed: bool,
    explain: Explain,
    lock_changed: bool = False,
    makes_lock: bool = False,
    unattested: Sequence[str] = (),
) -> ImagePlan:
    """Decide about one image.

    :param chain: its base and layers as the cache has them; None when the base is not made yet.
    :param waits_for: the name of the image it is based on, when that one is baked in this run.
    :param ended: the bake that ended under this very key.
    :param in_engine: whether the engine holds that bake's image.
    :param previous: the layers of the last bake of this image, to say what changed since.
    :param makes_lock: whether everything is made again because a lock is to be made.
    :param unattested: why what is said of that version is to be made anew.
    :param lock_changed: whether that bake had other locked packages, or none.
    """
    restored = 0 if chain is None else len(chain.restored)

    def bake(*reasons: str) -> ImagePlan:
        return ImagePlan(name, Action.BAKE, None, reasons, restored, layers)

    if waits_for is not None:
        return bake(f"its base {waits_for} is baked anew")
    if makes_lock:
        return bake("everything is made again, for its lock")
    if refresh:
        return bake("everything is to be made again (kiln_refresh)")
    if chain is None:
        return bake("its base is not there yet")
    if ended is not None and in_engine and unattested:
        return bake(*unattested)
    if ended is not None and in_engine:
        return ImagePlan(name, Action.NOTHING, ended.version, (), restored, layers)
    if ended is not None:
        return bake(f"version {ended.version} is in the store, but not in the engine")
    if not previous:
        return bake("it was not baked here before")
    if lock_changed and chain.pending:
        return bake("its package lock changed")
    return bake(*(_changes(chain, previous, explain) or _config_reason(config_changed)))


def _config_reason(config_changed: bool) -> tuple[str, ...]:
    return ("its configuration changed",) if config_changed else ("an earlier bake did not end",)


def _changes(
    chain: Chain, previous: Sequence[LayerRecord | None], explain: Explain
) -> tuple[str, ...]:
    """Say what differs in the first layer that is not the one of the last bake.

    The layers after it are new because it is, which need not be said of each.
    """
    for position, link in enumerate(chain.links):
        before = previous[position] if position < len(previous) else None
        if before is not None and before.key == link.key:
            continue
        step = link.step
        if step.uncacheable:
            return tuple(f"{step.name}: {reason}" for reason in step.uncacheable)
        if before is None and position < len(previous):
            return (f"{step.name}: its layer is gone from the cache",)
        if before is None or before.name != step.name:
            return (f"{step.name}: a new layer at place {position + 1}",)
        changes = explain(before.manifest, step.manifest)
        return tuple(f"{step.name}: {change}" for change in changes) or (
            f"{step.name}: what it is built on changed",
        )
    if len(previous) > len(chain.links):
        return ("layers were taken away",)
    return ()
