# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how long a disk takes whose layers are in the cache, and what a change of one costs.

    make bench BENCH=disk

It ends with 1 when a promised figure was missed. docs/performance.md says what is measured.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.artefact import disks_of
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import Cache
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import (
    INDEX,
    Descriptor,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

from .sheet import Machine, bench_parser, rounds_in_words, show, spread

CHECKOUT = Path(__file__).resolve().parents[2]
NAME = "bench-web-vm"
LIMITS = {
    "from layers in the cache to a qcow2": 25.0,
    "nothing changed": 1.5,
    "only the application's layer changed": 20.0,
}


def main(arguments: Sequence[str]) -> int:
    """Run the bench; return the exit status."""
    options = bench_parser("disk", __doc__, rounds=3).parse_args(arguments)
    machine = Machine.now(("Docker Engine", Engine().facts().version))
    with tempfile.TemporaryDirectory(prefix="kiln-bench-") as scratch:
        figures = measure(Path(scratch), options.rounds)
    lines = [
        *machine.lines,
        f"{rounds_in_words(options.rounds)}; the disk is not booted.",
        "",
        "| case | seconds | promised | |",
        "|---|---|---|---|",
    ]
    met = {case: median(figures[case]) <= limit for case, limit in LIMITS.items()}
    lines += [
        f"| {case} | {spread(figures[case], 1)} | at most {limit:g}"
        f" | {'met' if met[case] else 'missed'} |"
        for case, limit in LIMITS.items()
    ]
    show("disk", arguments, options.write, lines)
    return 0 if all(met.values()) else 1


def measure(scratch: Path, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each case of LIMITS, a figure for each round."""
    definition = lay_definition(scratch)
    text, site = definition.read_text("utf-8"), scratch / "images" / "web-site"
    figures: dict[str, list[float]] = {case: [] for case in LIMITS}
    first, unchanged, application = LIMITS
    try:
        bake(definition)
        for number in range(1, rounds + 1):
            # Another word for the kernel is another disk of the same layers.
            definition.write_text(text.replace("bench=0", f"bench={number}"), "utf-8")
            figures[first].append(bake(definition))
            figures[unchanged].append(bake(definition))
            (site / "round.html").write_text(f"{time.time()}\n", "utf-8")
            figures[application].append(bake(definition))
    finally:
        engine = Engine()
        for reference in engine.references(f"kiln/{NAME}:*"):
            engine.remove_image(reference)
    return figures


def lay_definition(scratch: Path) -> Path:
    """Copy examples/disks/web-vm.yml and its site, without a boot test; return the definition."""
    images, site = scratch / "disks", scratch / "images" / "web-site"
    shutil.copytree(CHECKOUT / "examples" / "images" / "web-site", site)
    images.mkdir()
    text = (CHECKOUT / "examples" / "disks" / "web-vm.yml").read_text("utf-8")
    text = text.replace("name: web-vm\n", f"name: {NAME}\n")
    text = text.replace("disk:\n", "disk:\n  boot_test: false\n  command_line: [bench=0]\n")
    text = text.replace("  tests: web-vm-tests\n", "")
    definition = images / f"{NAME}.yml"
    definition.write_text(text, "utf-8")
    return definition


def last_version(name: str = NAME) -> tuple[Layout, Descriptor]:
    """Return the store and the index of the last version of the image *name*."""
    home = Home.at(None)
    layout = Layout(home.store)
    record = Cache(home.cache, layout).latest(name)
    if record is None:
        raise SystemExit("bench: the bake left no version")
    return layout, Descriptor(INDEX, record.index, layout.path(record.index).stat().st_size)


def last_disk(form: str, name: str = NAME) -> Path:
    """Return the file of the last version of the image *name* in the format *form*."""
    layout, index = last_version(name)
    (found,) = (one for one in disks_of(layout, index) if one.format == form)
    return layout.path(found.blob.digest)


def bake(definition: Path) -> float:
    """Bake and return how many seconds it took."""
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [sys.executable, str(program), str(CHECKOUT / "playbooks" / "bake.yml")]
    command += ["--inventory=localhost,", f"--extra-vars=kiln_images={definition}"]
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=CHECKOUT, env=os.environ, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"bench: the bake failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
