# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures bakes of several images: side by side, and when there is nothing to do.

    make bench BENCH=matrix

All it makes carries a random name and is removed at the end. It ends with 1 when a promised
figure was missed. docs/performance.md says what is measured.
"""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from ansible.release import __version__ as core_version
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

from . import engine
from .contenders import CHECKOUT, Ground, bake_folder
from .process_group import ignore_interrupts, interrupts_raise
from .sheet import Comparison, Machine, bench_parser, compare, rounds_in_words, show, spread

MATRIX = 4
MANY = 10
MANY_SECONDS = 1.5
MANY_RATIO = 1.3
MATRIX_RATIO = 0.6


def main(arguments: Sequence[str]) -> int:
    """Run the bench; return the exit status."""
    options = bench_parser("matrix", __doc__, rounds=3).parse_args(arguments)
    interrupts_raise()
    machine = Machine.now(("ansible-core", core_version), ("Docker Engine", engine.version()))
    name = f"bench-{secrets.token_hex(4)}"
    before = engine.volumes()
    folder = Path(tempfile.mkdtemp(prefix="kiln-bench-"))
    try:
        ground = Ground.lay(folder, name, CHECKOUT / "examples/images/web.yml")
        quiet, matrix = _measure(ground, options.rounds)
    except DriverError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted; what it made is removed.", file=sys.stderr)
        return 130
    finally:
        ignore_interrupts()
        ours = {v for v in engine.volumes() - before if v.startswith(("kiln-apt", "kiln-toolkit"))}
        engine.remove_all(name, sorted(ours))
        shutil.rmtree(folder, ignore_errors=True)
    seconds = median(quiet.ours)
    kept = seconds <= MANY_SECONDS
    promise = f"promised: at most {MANY_SECONDS} s, {'met' if kept else 'missed'}"
    lines = [
        *machine.lines,
        "",
        f"Medians of {rounds_in_words(options.rounds)}, smallest and largest in parentheses.",
        "",
        *compare([quiet], "ten definitions", "one"),
        "",
        f"Ten definitions with nothing to do: {spread(quiet.ours, 2)} s; {promise}.",
        "",
        *compare([matrix], "side by side", "one after the other"),
    ]
    show("matrix", arguments, options.write, lines)
    return 0 if quiet.met and matrix.met and kept else 1


def _measure(ground: Ground, rounds: int) -> tuple[Comparison, Comparison]:
    """Measure both cases *rounds* times; who goes first alternates."""
    print("bench: a first bake fills the caches: base, toolkit, packages", flush=True)
    many = _define(ground, "many", [_changed(ground, n) for n in range(MANY)])
    one = _define(ground, "one", [_changed(ground, 0)])
    bake_folder(ground, many)
    bake_folder(ground, one)
    times: dict[str, list[float]] = {"many": [], "one": [], "together": [], "single": []}

    def idle(key: str, place: Path) -> None:
        build = bake_folder(ground, place)
        if build.tasks:
            raise DriverError(f"A bake with nothing to do ran {len(build.tasks)} tasks.")
        times[key].append(build.seconds)

    def together(number: int) -> None:
        images = [_salted(ground, f"t{number}x{n}", n) for n in range(MATRIX)]
        times["together"].append(bake_folder(ground, _define(ground, "matrix", images)).seconds)

    def single(number: int) -> None:
        images = [_salted(ground, f"s{number}x{n}", n) for n in range(MATRIX)]
        places = [_define(ground, f"single{n}", [image]) for n, image in enumerate(images)]
        times["single"].append(sum(bake_folder(ground, place).seconds for place in places))

    for number in range(1, rounds + 1):
        steps: list[Callable[[], None]] = [
            partial(idle, "many", many),
            partial(idle, "one", one),
            partial(together, number),
            partial(single, number),
        ]
        if number % 2 == 0:
            steps = [steps[1], steps[0], steps[3], steps[2]]
        for step in steps:
            step()
        last = ", ".join(f"{key} {figures[-1]:.2f} s" for key, figures in times.items())
        print(f"bench: round {number} of {rounds}: {last}", flush=True)
    return (
        Comparison("nothing changed", times["many"], times["one"], MANY_RATIO),
        Comparison(
            "four images, no layer cached", times["together"], times["single"], MATRIX_RATIO
        ),
    )


def _changed(ground: Ground, number: int) -> dict[str, Any]:
    """Return an image that differs from the others in its last layer."""
    layers = [dict(layer) for layer in ground.definition["layers"]]
    layers[-1]["vars"] = {**layers[-1].get("vars", {}), "nginx_worker_connections": 1000 + number}
    return {**ground.definition, "name": f"{ground.name}-m{number}", "layers": layers}


def _salted(ground: Ground, salt: str, number: int) -> dict[str, Any]:
    """Return an image of which no layer is in a cache."""
    return {**ground.salted(salt), "name": f"{ground.name}-x{number}"}


def _define(ground: Ground, folder: str, images: Sequence[Mapping[str, Any]]) -> Path:
    """Write *images* into a folder beside the ground's own, and return it."""
    place = ground.folder / folder
    # Again in each round: what the images of a round depend on is new.
    shutil.copytree(ground.images, place, dirs_exist_ok=True)
    for image in images:
        text = yaml.safe_dump(dict(image), sort_keys=False)
        (place / f"{image['name']}.yml").write_text(text, "utf-8")
    return place


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
