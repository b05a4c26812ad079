# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures a bake of ours against a Dockerfile with the same result, built by the same engine.

    make bench BENCH=dockerfile

All it makes carries a random name and is removed at the end. It ends with 1 when a promised
figure was missed. docs/performance.md says what is measured.
"""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible.release import __version__ as core_version
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

from . import engine
from .contenders import CHECKOUT, Ground, Kiln
from .dockerfile_build import Dockerfile
from .packer_build import PLAIN, Packer
from .process_group import ignore_interrupts, interrupts_raise
from .sheet import Comparison, Machine, bench_parser, compare, rounds_in_words, show, spread

COLD_RATIO = 1.6
NOTHING_RATIO = 2.0
LAST_STEP_RATIO = 2.0


@dataclass(slots=True)
class Times:
    """Seconds of one side, by case, a figure for each round."""

    cold: list[float] = field(default_factory=list)
    nothing: list[float] = field(default_factory=list)
    last_step: list[float] = field(default_factory=list)


def main(arguments: Sequence[str]) -> int:
    """Run the bench; return the exit status."""
    options = bench_parser("dockerfile", __doc__, rounds=3).parse_args(arguments)
    interrupts_raise()
    machine = Machine.now(("ansible-core", core_version), ("Docker Engine", engine.version()))
    name = f"bench-{secrets.token_hex(4)}"
    before = engine.volumes()
    folder = Path(tempfile.mkdtemp(prefix="kiln-bench-"))
    try:
        ground = Ground.lay(folder, name, CHECKOUT / "examples/images/web.yml")
        ours, theirs, starts, differing = _measure(ground, options.rounds)
    except DriverError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted; what it made is removed.", file=sys.stderr)
        return 130
    finally:
        ignore_interrupts()
        made = {v for v in engine.volumes() - before if v.startswith(("kiln-apt", "kiln-toolkit"))}
        engine.remove_all(name, sorted(made))
        shutil.rmtree(folder, ignore_errors=True)
    cases = [
        Comparison("cold: no layer cached", ours.cold, theirs.cold, COLD_RATIO),
        Comparison("nothing changed", ours.nothing, theirs.nothing, NOTHING_RATIO),
        Comparison("last step changed", ours.last_step, theirs.last_step, LAST_STEP_RATIO),
    ]
    lines = [
        *machine.lines,
        "",
        f"Medians of {rounds_in_words(options.rounds)}, smallest and largest in parentheses.",
        "",
        *compare(cases, "kiln", "docker build"),
        "",
        f"An `ansible-playbook` that does nothing: {spread(starts, 2)} s.",
        "",
        differing,
    ]
    show("dockerfile", arguments, options.write, lines)
    return 0 if all(case.met for case in cases) else 1


def _measure(ground: Ground, rounds: int) -> tuple[Times, Times, list[float], str]:
    """Measure all cases of both sides; who goes first alternates from round to round."""
    print("bench: a first bake fills the caches and gives the Dockerfile its files", flush=True)
    kiln = Kiln(ground)
    kiln.define("first")
    kiln.bake()
    (first,) = engine.tags(kiln.repository)
    Packer(ground, PLAIN).bootstrap()
    dockerfile = Dockerfile(ground, first)
    dockerfile.prepare()
    ours, theirs, starts = Times(), Times(), list[float]()

    def bake(number: int) -> None:
        kiln.define(f"round{number}")
        ours.cold.append(kiln.bake().seconds)
        ours.nothing.append(kiln.bake().seconds)
        ground.change_template()
        ours.last_step.append(kiln.bake().seconds)

    def build(number: int) -> None:
        dockerfile.define(f"round{number}")
        theirs.cold.append(dockerfile.build())
        theirs.nothing.append(dockerfile.build())
        dockerfile.change_last_step()
        theirs.last_step.append(dockerfile.build())

    for number in range(1, rounds + 1):
        for step in (bake, build) if number % 2 else (build, bake):
            step(number)
        starts.append(ground.empty_play())
        print(
            f"bench: round {number} of {rounds}:"
            f" cold {ours.cold[-1]:.1f} and {theirs.cold[-1]:.1f} s,"
            f" nothing changed {ours.nothing[-1]:.2f} and {theirs.nothing[-1]:.2f} s,"
            f" last step {ours.last_step[-1]:.1f} and {theirs.last_step[-1]:.1f} s",
            flush=True,
        )
    newest = engine.tags(kiln.repository)[0]
    return ours, theirs, starts, dockerfile.differences(newest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
