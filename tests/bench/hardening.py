# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures our hardening roles on a Debian 12 VM root: seconds, tasks, and rules that fail.

    make bench BENCH=hardening
    make bench BENCH=hardening ARGS='--peer NAME=PLAYBOOK'

All it makes carries a random name and is removed at the end. It ends with 1 when a promised
figure was missed. docs/performance.md says what is measured.
"""

from __future__ import annotations

import argparse
import secrets
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ansible.release import __version__ as core_version
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

from . import engine
from .contenders import CHECKOUT, Build, Ground
from .hardening_roots import Ours, Peer, Scanner, Verdict
from .page import render_profile
from .process_group import ignore_interrupts, interrupts_raise
from .sheet import (
    NOT_MEASURED,
    Machine,
    bench_parser,
    replace_measured,
    rounds_in_words,
    spread,
)

LIMIT_SECONDS = 20.0
LIMIT_TASKS = 90
LIMIT_RULES = 5


@dataclass(frozen=True, slots=True)
class Recorded:
    """What somebody measured on such a root elsewhere; it is not measured again here."""

    title: str
    tasks: int
    seconds: float
    failing: int


RECORDED = (
    Recorded("dev-sec os and ssh", 137, 77, 77),
    Recorded("konstruktoid", 196, 151, 66),
    Recorded("ansible-lockdown DEBIAN12-CIS", 172, 85, 95),
)
RECORDED_PLAIN = 107


@dataclass(frozen=True, slots=True)
class Played:
    """A peer that was run beside ours."""

    title: str
    build: Build
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured.

    :param roles: bakes of the roles on a root that holds the packages already, by round.
    :param whole: a bake with no layer in a cache.
    """

    roles: tuple[Build, ...]
    whole: Build
    plain: Verdict
    ours: Verdict
    peers: tuple[Played, ...]

    @property
    def seconds(self) -> list[float]:
        """Seconds of whole bakes of the roles alone, by round."""
        return [build.seconds for build in self.roles]

    @property
    def tasks(self) -> int:
        """The tasks of roles that ran in a bake with no layer in a cache."""
        return self.whole.of_roles


def main(arguments: Sequence[str]) -> int:
    """Run the bench; return the exit status."""
    parser = bench_parser("hardening", __doc__, rounds=3)
    parser.add_argument(
        "--peer",
        type=_peer,
        action="append",
        default=[],
        metavar="NAME=PLAYBOOK",
        help="play PLAYBOOK (hosts: all) on the plain root beside ours; may be given again",
    )
    options = parser.parse_args(arguments)
    interrupts_raise()
    machine = Machine.now(("ansible-core", core_version), ("Docker Engine", engine.version()))
    name = f"bench-{secrets.token_hex(4)}"
    before = engine.volumes()
    folder = Path(tempfile.mkdtemp(prefix="kiln-bench-"))
    scanner = Scanner(folder, name)
    try:
        ground = Ground.lay(folder, name, CHECKOUT / "examples/servers/server.yml")
        measured = _measure(ground, scanner, options.rounds, options.peer)
    except DriverError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted; what it made is removed.", file=sys.stderr)
        return 130
    finally:
        ignore_interrupts()
        made = {v for v in engine.volumes() - before if v.startswith(("kiln-apt", "kiln-toolkit"))}
        scanner.close()
        engine.remove_all(name, sorted(made))
        shutil.rmtree(folder, ignore_errors=True)
    command = shlex.join(["python", "-m", "tests.bench.hardening", *arguments])
    text = render(measured, machine, command)
    print(text)
    if options.write is not None:
        replace_measured(options.write, "hardening", text)
    return 0 if all(met for *_said, met in goals(measured)) else 1


def _peer(text: str) -> Peer:
    title, found, playbook = text.partition("=")
    if not found or not title or not Path(playbook).is_file():
        raise argparse.ArgumentTypeError(f"{text} is not NAME=PLAYBOOK with a playbook that exists")
    return Peer(title, Path(playbook).resolve())


def _measure(ground: Ground, scanner: Scanner, rounds: int, peers: Sequence[Peer]) -> Measured:
    ours = Ours(ground)
    print("bench: the plain root's bake fills the caches: base, toolkit, packages", flush=True)
    ours.bake_plain()
    plain = scanner.scan(ours.plain_image, ours.plain)
    ours.change("base", 0)
    whole = ours.bake()
    roles = []
    for number in range(1, rounds + 1):
        ours.change("apparmor", number)
        roles.append(ours.bake())
        print(f"bench: round {number} of {rounds}: {roles[-1].seconds:.1f} s", flush=True)
    print(render_profile("the roles", roles[-1]), flush=True)
    hardened = scanner.scan(ours.image, ours.hardened)
    played = []
    for peer in peers:
        build = peer.play(ground, ours.plain_image)
        played.append(Played(peer.title, build, scanner.scan(peer.image(ground), ours.plain)))
    return Measured(tuple(roles), whole, plain, hardened, tuple(played))


def goals(measured: Measured) -> list[tuple[str, str, bool]]:
    """Return what is promised, with what was measured and whether it is kept."""
    ours, whole = measured.ours, median(measured.seconds)
    tasks = median(in_tasks(build) for build in measured.roles)
    return [
        (
            f"the roles on a root with the packages: under {LIMIT_SECONDS:g} s",
            f"{tasks:.1f} s; {whole:.1f} s with the making of the image",
            tasks < LIMIT_SECONDS,
        ),
        (
            f"all roles together: at most {LIMIT_TASKS} tasks",
            str(measured.tasks),
            measured.tasks <= LIMIT_TASKS,
        ),
        (
            f"at most {LIMIT_RULES} rules fail",
            str(ours.failing),
            ours.failing <= LIMIT_RULES,
        ),
        ("each of them waived with a reason", f"{ours.waived} waived", not ours.unwaived),
    ]


def in_tasks(build: Build) -> float:
    """Return the seconds of *build* that tasks of roles took on the build host."""
    return sum(task.seconds for task in build.tasks if task.role)


def render(measured: Measured, machine: Machine, command: str) -> str:
    """Return the measured part of the page, in Markdown."""
    alone = max(build.of_roles for build in measured.roles)
    ours, plain = measured.ours, measured.plain
    found = (str(ours.failing), str(ours.failing_at_rest))
    rounds = rounds_in_words(len(measured.roles))
    rows = [
        ("plain root", "", "", "", str(plain.failing), str(plain.failing_at_rest)),
        (
            "kiln: packages in the root",
            str(alone),
            spread(measured.seconds, 1),
            spread([in_tasks(build) for build in measured.roles], 1),
            *found,
        ),
        (
            "kiln: no layer cached",
            str(measured.tasks),
            f"{measured.whole.seconds:.1f}",
            f"{in_tasks(measured.whole):.1f}",
            *found,
        ),
        *(_played_row(one) for one in measured.peers),
        ("plain root, as recorded", "", "", "", NOT_MEASURED, str(RECORDED_PLAIN)),
        *(_recorded_row(one) for one in RECORDED),
    ]
    return "\n".join(
        [
            f"Command: `{command}`",
            "",
            *machine.lines,
            f"Scanner: {ours.scanner}.",
            "",
            f"Medians of {rounds}, smallest and largest in parentheses.",
            "",
            "| root | tasks | s | of them in tasks | rules that fail | rules that fail at rest |",
            "|---|---|---|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            "| goal | measured | |",
            "|---|---|---|",
            *(
                f"| {said} | {found} | {'met' if met else 'missed'} |"
                for said, found, met in goals(measured)
            ),
            "",
            f"The rules that fail: {', '.join(ours.rules)}.",
        ]
    )


def _played_row(one: Played) -> tuple[str, ...]:
    seconds, verdict = f"{one.build.seconds:.1f}", one.verdict
    figures = (str(verdict.failing), str(verdict.failing_at_rest))
    tasks = (str(one.build.of_roles), seconds, f"{in_tasks(one.build):.1f}")
    return (one.title, *tasks, *figures)


def _recorded_row(one: Recorded) -> tuple[str, ...]:
    figures = (str(one.tasks), f"{one.seconds:g}", "", NOT_MEASURED, str(one.failing))
    return (f"{one.title}, as recorded", *figures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
