# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a strategy: what a rotation must have reached before it asks and goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .judgement import Wanted
from .policy import Strategy


@dataclass(frozen=True, slots=True)
class Stage:
    """One stop on the way.

    :param target: how many current instances there are to be.
    :param weight: their part of the traffic, in percent; None lets every instance get the same.
    :param traffic: whether current instances get traffic as soon as they are healthy.
    :param keep_old: whether instances that serve no more are kept, to go back to.
    :param switch: whether the old ones give all of the traffic up together.
    :param pause: seconds to stay; None is until somebody approves.
    :param gates: whether the policy's gates of each step are asked here.
    """

    name: str
    target: int
    weight: int | None = None
    traffic: bool = True
    keep_old: bool = False
    switch: bool = False
    pause: float | None = 0.0
    gates: bool = False

    def weights(self, current: int, old: int, size: int) -> tuple[int, int]:
        """Return the weight of each current and each old instance, 1 to 100.

        The larger of the two is 100, so that a balancer with whole numbers is as exact as it
        can be. With *current* instances below the stage's target the share is that of the target.
        """
        if self.weight is None:
            return 100, 100
        new = max(1, min(self.target, size), current)
        rest = max(1, old or size - new)
        mine, theirs = self.weight / new, (100 - self.weight) / rest
        most = max(mine, theirs)
        return max(1, round(100 * mine / most)), max(1, round(100 * theirs / most))


def stages(wanted: Wanted) -> tuple[Stage, ...]:
    """Return the stages of *wanted*'s strategy, the last of which is the whole group."""
    policy, size = wanted.policy, wanted.size
    asks = any(gate.at == "step" for gate in policy.gates)
    last = Stage("all instances", size, gates=asks)
    if size == 0:
        return (last,)
    if policy.strategy is Strategy.BLUE_GREEN:
        return (
            Stage("new beside old", size, traffic=False, keep_old=True, gates=asks),
            Stage("all traffic on new", size, keep_old=True, switch=True, pause=policy.bake_time),
            Stage("old ones gone", size),
        )
    if policy.strategy is Strategy.CANARY:
        steps = tuple(
            Stage(
                f"{step.weight}% of the traffic",
                min(size, math.ceil(size * step.weight / 100)),
                weight=step.weight,
                pause=step.pause,
                gates=True,
            )
            for step in policy.steps
        )
        return (*steps, last)
    if asks:
        batch = wanted.bounds.batch
        targets = [*range(batch, size, batch), size]
        return tuple(Stage(f"{one} of {size} instances", one, gates=True) for one in targets)
    return (last,)
