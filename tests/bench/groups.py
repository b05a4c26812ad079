# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how rotations scale: planning, its memory, and a whole one on a simulated platform.

    make bench BENCH=groups

It ends with 1 when a promised figure was missed. docs/performance.md says what is measured.
"""

from __future__ import annotations

import itertools
import multiprocessing
import random
import resource
import sys
import time
from collections.abc import Sequence
from statistics import median

from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.simulated import (
    EPOCH,
    Behaviour,
    Simulated,
    Time,
    Trouble,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    GroupDefinition,
    ImageChoice,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.engine import Rotation
from ansible_collections.kiln.immutable.plugins.module_utils.groups.judgement import Wanted
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import (
    Health,
    Instance,
    Life,
    Observed,
    Release,
    Traffic,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.notes import (
    Generation,
    GroupState,
    write_state,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.planner import plan_rotation
from ansible_collections.kiln.immutable.plugins.module_utils.groups.policy import (
    Amount,
    Policy,
    bounds,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.run import Edge
from ansible_collections.kiln.immutable.plugins.module_utils.groups.work import Result

from .sheet import Machine, bench_parser, rounds_in_words, show, spread

SIZES = (2_500, 5_000, 10_000, 20_000)
SIZE = 10_000
PLAN_SECONDS, PLAN_MEGABYTES, ROTATION_SECONDS = 2.0, 200.0, 60.0
LINEAR = 2.5
"""Twice the instances may take so many times as long: the double, and some room for noise."""

OLD = Release("web", "1.0.1", "sha256:" + "1" * 64, "kiln/web:1.0.1")
NEW = Release("web", "1.0.2", "sha256:" + "2" * 64, "kiln/web:1.0.2")


def main(arguments: Sequence[str]) -> int:
    """Run the bench; return the exit status."""
    options = bench_parser("groups", __doc__, rounds=5).parse_args(arguments)
    machine = Machine.now(("Python", sys.version.split()[0]))
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        # All sizes in each round: what else the machine does then touches them alike.
        planned: dict[int, list[float]] = {size: [] for size in SIZES}
        for _round in range(options.rounds):
            for size, figures in planned.items():
                figures.append(pool.apply(plan_seconds, (size,))[0])
        megabytes = pool.apply(plan_seconds, (SIZE,))[1]
    began = time.perf_counter()
    result, platform = rotate(SIZE)
    rotation = time.perf_counter() - began
    if not result.succeeded or platform.broken_rules:
        print(f"bench: {result.message} {platform.broken_rules[:3]}", file=sys.stderr)
        return 2
    growth = median(planned[2 * SIZE]) / median(planned[SIZE])
    rows = [
        (f"plan of {SIZE:,}", f"{spread(planned[SIZE], 2)} s", median(planned[SIZE]), PLAN_SECONDS),
        (f"plan of {2 * SIZE:,} beside it", f"{growth:.2f} times as long", growth, LINEAR),
        ("memory of the process that plans", f"{megabytes:.0f} MB", megabytes, PLAN_MEGABYTES),
        (f"rotation of {SIZE:,}", f"{rotation:.1f} s", rotation, ROTATION_SECONDS),
    ]
    story = (
        f"The simulated rotation started {result.started:,} instances and took "
        f"{result.seconds / 60:.0f} simulated minutes; never fewer than {result.lowest:,} "
        f"served, and never more than {result.highest:,} were there."
    )
    table = [
        f"| {what} | {shown} | at most {limit:g} | {'met' if value <= limit else 'missed'} |"
        for what, shown, value, limit in rows
    ]
    lines = [
        *machine.lines,
        "",
        f"Planning in {rounds_in_words(options.rounds)}, each in a process of its own:",
        "",
        "| instances | " + " | ".join(f"{size:,}" for size in SIZES) + " |",
        "|---|" + "---|" * len(SIZES),
        "| seconds | " + " | ".join(spread(planned[size], 2) for size in SIZES) + " |",
        "",
        "| what | measured | promised | |",
        "|---|---|---|---|",
        *table,
        "",
        story,
    ]
    show("groups", arguments, options.write, lines)
    return 0 if all(value <= limit for _what, _shown, value, limit in rows) else 1


def group(size: int, surge: Amount) -> GroupDefinition:
    """Return a group of *size*."""
    policy = Policy(max_surge=surge, deadline=1e6, failure_threshold=size)
    return GroupDefinition("web", ImageChoice("web", version="1.0.2"), size, policy=policy)


def plan_seconds(size: int) -> tuple[float, float]:
    """Plan the replacement of *size* instances one by one: seconds, and the process's megabytes."""
    definition = group(size, Amount(1))
    instances = tuple(
        Instance(
            f"web-{number:06x}",
            OLD.version,
            OLD.digest,
            definition.settings,
            Life.RUNNING,
            Health.PASSING,
            Traffic.READY,
            created=EPOCH + number,
        )
        for number in range(size)
    )
    wanted = Wanted.of(definition, NEW)
    began = time.perf_counter()
    plan = plan_rotation(Observed(instances, now=EPOCH + 2 * size), wanted)
    seconds = time.perf_counter() - began
    if plan.begins != size or plan.lowest != size:
        raise RuntimeError("the plan is not the one that is measured")
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def rotate(size: int) -> tuple[Result, Simulated]:
    """Rotate *size* instances, a tenth at a time, on a platform where one action in 200 fails."""
    definition = group(size, Amount(10, percent=True))
    clock, names = Time(), itertools.count()
    platform = Simulated(
        clock,
        definition.settings,
        bounds(definition.policy, size, stop_first=False),
        drain_time=definition.drain_time,
        behaviours={NEW.digest: Behaviour(start=(1.0, 20.0), crashes=0.001, broken=0.001)},
        trouble=Trouble(fails=0.005, forgets=0.001),
        chance=random.Random(1),
    )
    for number in range(size):
        platform.place(f"web-old{number}", OLD)
    write_state(platform, GroupState(Generation(OLD, definition.settings)))
    edge = Edge(clock, name=lambda: f"{next(names):06x}", poll=1.0)
    rotation = Rotation(
        platform, definition, NEW, "bench", edge=edge, now=clock.now, threaded=False
    )
    return rotation.rotate(), platform


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
