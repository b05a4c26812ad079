# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures a bake of ours against Packer's builds of the same roles, side by side.

    make bench

All it makes carries a random name and is removed at the end, also after a failure, Ctrl-C or
SIGTERM. It ends with 1 when a promised figure was missed. docs/performance.md says what is
measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import secrets
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ansible.release import __version__ as core_version
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import run
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

from . import engine
from .contenders import CHECKOUT, Build, Ground, Kiln, playbook_program
from .packer_build import PLAIN, TUNED, Packer
from .page import Measured, Round, goals, render, render_profile
from .process_group import ignore_interrupts, interrupts_raise
from .sheet import Machine, replace_measured

FREE_BYTES = 4 << 30
LAST_CHANGE = {"nginx_worker_connections": 2048}
HARDENING_CHANGE = {"hardening_accounts_login_defs": {"LOGIN_RETRIES": "4"}}
"""The first hardening role's, above which every layer is made again."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    definition: Path
    rounds: int
    tuned_rounds: int
    strategy: str
    write: Path | None
    profile: bool


def main(arguments: Sequence[str]) -> int:
    """Run the bench; return the exit status."""
    options = _options(arguments)
    interrupts_raise()
    # What tunes the user's Ansible, or make's, is neither side's.
    for key in [key for key in os.environ if key.startswith(("ANSIBLE_", "KILN_"))]:
        del os.environ[key]
    try:
        machine = _machine(options)
        measured = _measure(options)
    except DriverError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted; what it made is removed.", file=sys.stderr)
        return 130
    command = shlex.join(["python", "-m", "tests.bench.packer", *arguments])
    text = render(measured, machine, command)
    print(text)
    if options.profile:
        last = measured.rounds[-1]
        tuned = next((r.tuned for r in reversed(measured.rounds) if r.tuned), None)
        for title, build in (
            ("kiln, cold", last.cold),
            ("kiln, a variable of the last role changed", last.last_variable),
            ("kiln, a variable of the hardening role changed", last.hardening),
            (PLAIN.title, last.packer),
            (TUNED.title, tuned),
        ):
            if build:
                print(f"\n{render_profile(title, build)}")
    if options.write is not None:
        replace_measured(options.write, "packer", text)
    return 0 if all(goal.met for goal in goals(measured)) else 1


def _options(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.packer", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--definition",
        type=Path,
        default=CHECKOUT / "examples/images/web.yml",
        help="the image definition (default: examples/images/web.yml)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often (default: 5)")
    parser.add_argument(
        "--tuned-rounds",
        type=int,
        metavar="N",
        help="in how many of them to measure Packer tuned, too (default: in all)",
    )
    parser.add_argument(
        "--tuned-strategy", default="", metavar="NAME", help="Ansible strategy of Packer tuned"
    )
    parser.add_argument("--profile", action="store_true", help="show where the time went")
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help="put the table between the markers of PAGE"
    )
    found = parser.parse_args(arguments)
    if found.rounds < 1:
        parser.error("--rounds takes a number from 1 on")
    tuned_rounds = found.rounds if found.tuned_rounds is None else found.tuned_rounds
    if not 0 <= tuned_rounds <= found.rounds:
        parser.error("--tuned-rounds takes a number from 0 to that of --rounds")
    return Options(
        found.definition.resolve(),
        found.rounds,
        tuned_rounds,
        found.tuned_strategy,
        found.write,
        found.profile,
    )


def _machine(options: Options) -> Machine:
    """Check what the bench stands on, and describe it; DriverError says what is missing."""
    if not options.definition.is_file():
        raise DriverError(f"There is no image definition {options.definition}.")
    if options.write is not None and not options.write.is_file():
        raise DriverError(f"There is no page {options.write} to write the table into.")
    engine_version = engine.version()
    packer = run(["packer", "version"], check=False).text.splitlines()[:1]
    version = packer[0].removeprefix("Packer v") if packer else ""
    if not version.startswith("1.6."):
        raise DriverError(
            f"The packer on the PATH is {version or 'unknown'}; the bench is for Debian 12's 1.6.",
            hint="Later ones need their plugins installed: apt-get install packer on Debian 12.",
        )
    if not Path(playbook_program()).exists():
        raise DriverError(
            f"{playbook_program()} does not exist.",
            hint="Run the bench with the Python of the virtual environment that `make` makes.",
        )
    if options.strategy.startswith("mitogen") and not importlib.util.find_spec("ansible_mitogen"):
        raise DriverError(f"--tuned-strategy {options.strategy} needs Mitogen installed.")
    if options.tuned_rounds and not _has_docker_connection():
        raise DriverError(
            "The collection community.docker is missing, and Packer tuned needs its connection.",
            hint="`scripts/prepare test` installs it; --tuned-rounds 0 goes without.",
        )
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < FREE_BYTES:
        raise DriverError(
            f"{tempfile.gettempdir()} has {free >> 20} MiB free; the bench needs"
            f" {FREE_BYTES >> 20} MiB.",
            hint="Make room, or set TMPDIR to another folder.",
        )
    return Machine.now(
        ("kiln.immutable", _collection_version()),
        ("Packer", version),
        ("ansible-core", core_version),
        ("Docker Engine", engine_version),
    )


def _collection_version() -> str:
    for line in (CHECKOUT / "galaxy.yml").read_text("utf-8").splitlines():
        if line.startswith("version:"):
            return line.partition(":")[2].strip()
    return "unknown"


def _has_docker_connection() -> bool:
    try:
        return importlib.util.find_spec("ansible_collections.community.docker") is not None
    except ModuleNotFoundError:
        return False


def _measure(options: Options) -> Measured:
    name = f"bench-{secrets.token_hex(4)}"
    before = engine.volumes()
    folder = Path(tempfile.mkdtemp(prefix="kiln-bench-"))
    try:
        ground = Ground.lay(folder, name, options.definition)
        tuned = replace(TUNED, strategy=options.strategy)
        return _rounds(options, Kiln(ground), Packer(ground, PLAIN), Packer(ground, tuned))
    finally:
        ignore_interrupts()
        ours = {f"{name}-archives", f"{name}-lists"}
        ours |= {v for v in engine.volumes() - before if v.startswith(("kiln-apt", "kiln-toolkit"))}
        left = engine.remove_all(name, sorted(ours))
        shutil.rmtree(folder, ignore_errors=True)
        if left or folder.exists():
            print(f"bench: could not be removed: {' '.join([*left, str(folder)])}")


def _rounds(options: Options, kiln: Kiln, packer: Packer, tuned: Packer) -> Measured:
    print("bench: a first build of each fills the caches: base, toolkit, packages", flush=True)
    packer.bootstrap()
    kiln.define("first")
    kiln.bake()
    # Its image stays, so that the engine holds the base of ours, as it does Packer's.
    (first,) = engine.tags(kiln.repository)
    packer.define("first")
    packer.build()
    rounds: list[Round] = []
    for number in range(1, options.rounds + 1):
        engine.remove_images([tag for tag in engine.tags(kiln.repository) if tag != first])
        engine.remove_images([*engine.tags(packer.repository), *engine.tags(tuned.repository)])
        for contender in (kiln, packer, tuned):
            contender.define(f"round{number}")
        others = [packer, tuned] if number <= options.tuned_rounds else [packer]
        rounds.append(_round([kiln, *others], number))
        print(f"bench: round {number} of {options.rounds}: {rounds[-1].line}", flush=True)
    newest = engine.tags(kiln.repository)[0]
    (built,) = engine.tags(packer.repository)
    return Measured(tuple(rounds), engine.inspect(newest), engine.inspect(built))


def _round(sides: Sequence[Kiln | Packer], number: int) -> Round:
    """Measure all once. Who goes first rotates, so that nobody always meets the quieter machine."""
    start, salt = (number - 1) % len(sides), f"round{number}"
    ours: list[Build] = []
    theirs: dict[str, Build] = {}
    for side in [*sides[start:], *sides[:start]]:
        if isinstance(side, Packer):
            theirs[side.variant.title] = side.build()
        else:
            ours += [side.bake(), side.bake()]
            side.define(salt, LAST_CHANGE)
            ours.append(side.bake())
            side.define(salt, {**LAST_CHANGE, **HARDENING_CHANGE})
            ours.append(side.bake())
            side.ground.change_template()
            ours.append(side.bake())
    cold, nothing, last_variable, hardening, last_role = ours
    packer, tuned = theirs[PLAIN.title], theirs.get(TUNED.title)
    return Round(cold, nothing, last_variable, hardening, last_role, packer, tuned)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
