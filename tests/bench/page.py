# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rounds, their medians, and the page that shows them. Pure but for the page's own file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.core.files import write_whole

from .contenders import Build
from .engine import Contents

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
MIB = 1 << 20

COLD_RATIO = 0.45
NOTHING_SECONDS = 1.2
LAST_ROLE_RATIO = 0.25


@dataclass(frozen=True, slots=True)
class Round:
    """One pass over all cases; Packer's one build stands against each of them."""

    cold: Build
    nothing: Build
    last_role: Build
    packer: Build


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures hold for."""

    cores: int
    memory: int
    versions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """All that a run of the bench found out."""

    rounds: tuple[Round, ...]
    ours: Contents
    packers: Contents


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that is promised, as a sentence, and whether the run kept it."""

    sentence: str
    met: bool


def goals(measured: Measured) -> tuple[Goal, ...]:
    """Judge a run by what is promised of a bake."""
    cold = median(_ratios(measured.rounds, lambda r: r.cold))
    last = median(_ratios(measured.rounds, lambda r: r.last_role))
    nothing = median(r.nothing.seconds for r in measured.rounds)
    idle = all(not r.nothing.tasks for r in measured.rounds)
    smaller = measured.ours.size < measured.packers.size
    return (
        Goal(f"cold at most {COLD_RATIO:.2f} of Packer's time", cold <= COLD_RATIO),
        Goal(f"nothing changed: at most {NOTHING_SECONDS} s", nothing <= NOTHING_SECONDS),
        Goal("nothing changed: no task on a build host", idle),
        Goal(f"last role changed: at most {LAST_ROLE_RATIO:.2f}", last <= LAST_ROLE_RATIO),
        Goal("image smaller than Packer's", smaller),
        Goal("no Python in the image", not measured.ours.python_files),
    )


def render(measured: Measured, machine: Machine, command: str, variant: str) -> str:
    """Return the measured part of the page, in Markdown."""
    rounds = measured.rounds
    cases: tuple[tuple[str, Callable[[Round], Build]], ...] = (
        ("cold: no layer cached", lambda r: r.cold),
        ("nothing changed", lambda r: r.nothing),
        ("one line of the last role's template changed", lambda r: r.last_role),
    )
    packer = _spread([r.packer.seconds for r in rounds], 1)
    memory = f"{machine.memory / (1 << 30):.0f} GiB of memory"
    versions = ", ".join(" ".join(pair) for pair in machine.versions)
    lines = [
        f"Command: `{command}`",
        "",
        f"Machine: {machine.cores} cores, {memory}. Versions: {versions}.",
        "",
        f"Medians of {len(rounds)} rounds, smallest and largest in parentheses; Packer: {variant}.",
        "",
        "| case | kiln, s | Packer, s | kiln / Packer | tasks on the build host, kiln | Packer |",
        "|---|---|---|---|---|---|",
    ]
    for title, case in cases:
        seconds = _spread([case(r).seconds for r in rounds], 2)
        ratios = _spread(_ratios(rounds, case), 2)
        tasks = _tasks([case(r) for r in rounds])
        theirs = _tasks([r.packer for r in rounds])
        lines.append(f"| {title} | {seconds} | {packer} | {ratios} | {tasks} | {theirs} |")
    ours, other = measured.ours, measured.packers
    compressed = f"{ours.compressed / MIB:.2f} | {other.compressed / MIB:.2f}"
    lines += [
        "",
        "| image | kiln | Packer |",
        "|---|---|---|",
        f"| size, MiB | {ours.size / MIB:.2f} | {other.size / MIB:.2f} |",
        f"| gzip -6 of `docker save`, MiB | {compressed} |",
        f"| files | {ours.files} | {other.files} |",
        f"| files named `python3*` | {len(ours.python_files)} | {len(other.python_files)} |",
        "",
        "| goal | |",
        "|---|---|",
    ]
    lines += [
        f"| {goal.sentence} | {'met' if goal.met else 'missed'} |" for goal in goals(measured)
    ]
    return "\n".join(lines)


def render_profile(title: str, build: Build, count: int = 12) -> str:
    """Return where the time of a build went: its slowest tasks and what no task accounts for."""
    slowest = sorted(build.tasks, key=lambda task: -task.seconds)[:count]
    outside = build.seconds - sum(task.seconds for task in build.tasks)
    lines = [f"{title}: {build.seconds:.1f} s, of which {outside:.1f} s outside of tasks"]
    lines += [f"  {task.seconds:6.2f}  {task.name}" for task in slowest]
    return "\n".join(lines)


def replace_measured(page: Path, text: str) -> None:
    """Put *text* between the markers of *page*."""
    content = page.read_text("utf-8") if page.exists() else ""
    if content.count(BEGIN) != 1 or content.count(END) != 1:
        raise DriverError(
            f"{page} does not hold the lines {BEGIN} and {END} once each.",
            hint="Put them where the table is to stand.",
        )
    pattern = re.escape(BEGIN) + r".*?" + re.escape(END)
    whole = re.sub(pattern, lambda _match: f"{BEGIN}\n{text}\n{END}", content, flags=re.DOTALL)
    write_whole(page, whole.encode())


def _ratios(rounds: Sequence[Round], case: Callable[[Round], Build]) -> list[float]:
    return [case(r).seconds / r.packer.seconds for r in rounds]


def _spread(values: Sequence[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _tasks(builds: Sequence[Build]) -> str:
    """Tasks in all and those of roles; the bake's own steps, such as a capture, are the rest."""
    counts = sorted({(len(build.tasks), build.of_roles) for build in builds})
    return " / ".join(
        f"{total}, {of_roles} of roles" if total else "0" for total, of_roles in counts
    )
