# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rounds beside Packer, their medians, and the text that shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import median

from .contenders import Build
from .engine import Contents
from .sheet import NOT_MEASURED, Machine, rounds_in_words, spread

MIB = 1 << 20

COLD_RATIO = 0.45
NOTHING_SECONDS = 1.2
NOTHING_RATIO = 0.04
LAST_VARIABLE_RATIO = 0.15
HARDENING_RATIO = 0.6
LAST_ROLE_RATIO = 0.25


@dataclass(frozen=True, slots=True)
class Round:
    """One pass over all cases; one build of Packer's stands against each of them.

    :param tuned: Packer tuned, which a run may measure in fewer rounds.
    """

    cold: Build
    nothing: Build
    last_variable: Build
    hardening: Build
    last_role: Build
    packer: Build
    tuned: Build | None

    @property
    def line(self) -> str:
        """The seconds of each, for the eye that watches."""
        tuned = f", tuned {self.tuned.seconds:.1f} s" if self.tuned else ""
        return (
            f"cold {self.cold.seconds:.1f} s, nothing changed {self.nothing.seconds:.2f} s,"
            f" last variable {self.last_variable.seconds:.1f} s,"
            f" hardening {self.hardening.seconds:.1f} s,"
            f" last role {self.last_role.seconds:.1f} s, packer {self.packer.seconds:.1f} s{tuned}"
        )


Case = Callable[[Round], Build]
COLD: Case = attrgetter("cold")
NOTHING: Case = attrgetter("nothing")
LAST_VARIABLE: Case = attrgetter("last_variable")
HARDENING: Case = attrgetter("hardening")
LAST_ROLE: Case = attrgetter("last_role")


@dataclass(frozen=True, slots=True)
class Measured:
    """All that a run of the bench found out."""

    rounds: tuple[Round, ...]
    ours: Contents
    packers: Contents


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that is promised: as a sentence, what was measured, and whether that keeps it.

    :param tuned: the same figure against Packer tuned, which nothing is promised of.
    """

    sentence: str
    measured: str
    met: bool
    tuned: str = ""


def goals(measured: Measured) -> tuple[Goal, ...]:
    """Judge a run by what is promised of a bake."""
    rounds = measured.rounds
    nothing = median(r.nothing.seconds for r in rounds)
    tasks = sum(len(r.nothing.tasks) for r in rounds)
    ours, packers, pythons = measured.ours, measured.packers, len(measured.ours.python_files)
    return (
        _ratio_goal(rounds, "cold", COLD, COLD_RATIO),
        _ratio_goal(rounds, "nothing changed", NOTHING, NOTHING_RATIO),
        Goal(
            f"nothing changed: at most {NOTHING_SECONDS} s",
            f"{nothing:.3f} s",
            nothing <= NOTHING_SECONDS,
        ),
        Goal("nothing changed: no task on a build host", f"{tasks}", tasks == 0),
        _ratio_goal(rounds, "a variable of the last role", LAST_VARIABLE, LAST_VARIABLE_RATIO),
        _ratio_goal(rounds, "a variable of the hardening role", HARDENING, HARDENING_RATIO),
        _ratio_goal(rounds, "last role's template changed", LAST_ROLE, LAST_ROLE_RATIO),
        Goal(
            "image smaller than packer's",
            f"{(ours.size - packers.size) / MIB:+.2f} MiB",
            ours.size < packers.size,
        ),
        Goal("no Python in the image", f"{pythons} files", not pythons),
    )


def _ratio_goal(rounds: Sequence[Round], what: str, case: Case, limit: float) -> Goal:
    ratio = median(_ratios(rounds, case))
    sentence = f"{what}: at most {limit:.2f} of packer's time"
    return Goal(sentence, f"{ratio:.3f}", ratio <= limit, _median_of_tuned(rounds, case))


def render(measured: Measured, machine: Machine, command: str) -> str:
    """Return the measured part of the page, in Markdown."""
    return "\n".join(
        [
            f"Command: `{command}`",
            "",
            *machine.lines,
            "",
            *_times(measured.rounds),
            "",
            *_images(measured.ours, measured.packers),
            "",
            "| goal | measured | the same against packer, tuned | |",
            "|---|---|---|---|",
            *(
                f"| {goal.sentence} | {goal.measured} | {goal.tuned}"
                f" | {'met' if goal.met else 'missed'} |"
                for goal in goals(measured)
            ),
        ]
    )


def _times(rounds: Sequence[Round]) -> list[str]:
    tuned = [r.tuned for r in rounds if r.tuned]
    fewer = f"; packer, tuned in {len(tuned)} of them" if len(tuned) < len(rounds) else ""
    packer_seconds = spread([r.packer.seconds for r in rounds], 1)
    tuned_seconds = spread([build.seconds for build in tuned], 1)
    lines = [
        f"Medians of {rounds_in_words(len(rounds))}, smallest and largest in parentheses{fewer}.",
        "",
        "| case | kiln, s | packer, s | kiln / packer | packer, tuned, s | kiln / packer, tuned |",
        "|---|---|---|---|---|---|",
    ]
    cases = (
        ("cold: no layer cached", COLD),
        ("nothing changed", NOTHING),
        ("a variable of the last role changed", LAST_VARIABLE),
        ("a variable of the hardening role changed", HARDENING),
        ("one line of the last role's template changed", LAST_ROLE),
    )
    for title, case in cases:
        seconds = spread([case(r).seconds for r in rounds], 2)
        ratios, tuned_ratios = _ratios(rounds, case), _tuned_ratios(rounds, case)
        lines.append(
            f"| {title} | {seconds} | {packer_seconds} | **{spread(ratios, 2)}**"
            f" | {tuned_seconds} | **{spread(tuned_ratios, 2)}** |"
        )
    rows = [(title, [case(r) for r in rounds]) for title, case in cases]
    rows += [("packer", [r.packer for r in rounds]), ("packer, tuned", tuned)]
    lines += ["", "| tasks on the build host | |", "|---|---|"]
    for title, builds in rows:
        ours = "" if title.startswith("packer") else "kiln, "
        lines.append(f"| {ours}{title} | {_tasks(builds)} |")
    return lines


def _images(ours: Contents, other: Contents) -> list[str]:
    """Return the table of the images, and whether both sides met the same state of the archive."""
    differing = sorted(
        name
        for name, version in ours.packages.items()
        if other.packages.get(name, version) != version
    )
    compressed = f"{ours.compressed / MIB:.2f} | {other.compressed / MIB:.2f}"
    state = (
        f"The archive changed between the two: {', '.join(differing)} differ in version."
        if differing
        else "No package of both differs in version: the archive was in one state for both."
    )
    return [
        "| image | kiln | packer |",
        "|---|---|---|",
        f"| size, MiB | {ours.size / MIB:.2f} | {other.size / MIB:.2f} |",
        f"| gzip -6 of `docker save`, MiB | {compressed} |",
        f"| files | {ours.files} | {other.files} |",
        f"| packages | {len(ours.packages)} | {len(other.packages)} |",
        f"| files named `python3*` | {len(ours.python_files)} | {len(other.python_files)} |",
        "",
        state,
    ]


def render_profile(title: str, build: Build, count: int = 12) -> str:
    """Return where the time of a build went: its slowest tasks and what no task accounts for."""
    slowest = sorted(build.tasks, key=lambda task: -task.seconds)[:count]
    outside = build.seconds - sum(task.seconds for task in build.tasks)
    lines = [f"{title}: {build.seconds:.1f} s, of which {outside:.1f} s outside of tasks"]
    lines += [f"  {task.seconds:6.2f}  {task.name}" for task in slowest]
    return "\n".join(lines)


def _ratios(rounds: Sequence[Round], case: Case) -> list[float]:
    return [case(r).seconds / r.packer.seconds for r in rounds]


def _tuned_ratios(rounds: Sequence[Round], case: Case) -> list[float]:
    return [case(r).seconds / r.tuned.seconds for r in rounds if r.tuned]


def _median_of_tuned(rounds: Sequence[Round], case: Case) -> str:
    ratios = _tuned_ratios(rounds, case)
    return f"{median(ratios):.3f}" if ratios else NOT_MEASURED


def _tasks(builds: Sequence[Build]) -> str:
    """Tasks in all and those of roles; the bake's own steps, such as a capture, are the rest."""
    if not builds:
        return NOT_MEASURED
    counts = sorted({(len(build.tasks), build.of_roles) for build in builds})
    return " / ".join(
        f"{total}, {of_roles} of roles" if total else "0" for total, of_roles in counts
    )
