# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures a disk beside Packer's qemu builder, which applies the same roles to a prepared disk.

    make bench BENCH=disk_packer

Packer's machine is run by QEMU's translator. It ends with 1 when the promised ratio was missed;
docs/performance.md says what is measured.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.tests.integration.disk_packer.packer_run import (
    TEMPLATE,
    run_packer,
)

from .disk import CHECKOUT, bake, last_disk
from .sheet import Comparison, Machine, bench_parser, compared, show

IMAGES = CHECKOUT / "tests" / "integration" / "disk_packer" / "images"
SOURCE, TWIN = "vm-source", "vm-twin"
LIMIT = 0.15


def main(arguments: Sequence[str]) -> int:
    """Run the bench; return the exit status."""
    options = bench_parser("disk_packer", __doc__, rounds=1).parse_args(arguments)
    machine = Machine.now(("Packer", "1.6.6"), ("Docker Engine", Engine().facts().version))
    with tempfile.TemporaryDirectory(prefix="kiln-bench-") as scratch:
        found = measure(Path(scratch), options.rounds)
    lines = compared(machine, options.rounds, [found], "kiln", "packer")
    show("disk_packer", arguments, options.write, lines)
    return 0 if found.met else 1


def measure(scratch: Path, rounds: int) -> Comparison:
    """Return the seconds of a disk with roles that no cache has met, for both sides."""
    images, template = scratch / "images", scratch / "template"
    shutil.copytree(IMAGES, images)
    shutil.copytree(TEMPLATE, template)
    source = yaml.safe_load((images / f"{SOURCE}.yml").read_text("utf-8"))
    twin: dict[str, Any] = yaml.safe_load((images / f"{TWIN}.yml").read_text("utf-8"))
    (play,) = yaml.safe_load((template / "server.yml").read_text("utf-8"))
    ours: list[float] = []
    theirs: list[float] = []
    try:
        bake(images / f"{SOURCE}.yml")
        prepared = scratch / "source.qcow2"
        shutil.copyfile(last_disk("qcow2", SOURCE), prepared)
        for number in range(rounds):
            said = {"hardening_ssh_banner_text": f"Round {number} of {time.time()}.\n"}
            first, *rest = twin["layers"]
            layers = [{**first, "vars": {**first.get("vars", {}), **said}}, *rest]
            definition = images / f"{TWIN}.yml"
            made = {**twin, "layers": layers, "disk": source["disk"]}
            definition.write_text(yaml.safe_dump(made, sort_keys=False), "utf-8")
            # Both definitions, of which only this one is new.
            ours.append(bake(images))
            changed = {**play, "vars": {**play["vars"], **said}}
            (template / "server.yml").write_text(yaml.safe_dump([changed]), "utf-8")
            started = time.perf_counter()
            run_packer(scratch / f"packer{number}", prepared, template)
            theirs.append(time.perf_counter() - started)
    finally:
        engine = Engine()
        for name in (TWIN, SOURCE):
            for reference in engine.references(f"kiln/{name}:*"):
                engine.remove_image(reference)
    return Comparison("roles applied to a prepared disk", ours, theirs, LIMIT)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
