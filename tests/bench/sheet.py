# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured side by side as tables, and the places of a page where they stand.

Each bench has a place of its own: the lines between ``<!-- measured NAME: begin -->`` and
``<!-- measured NAME: end -->``.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.core.files import write_whole

BUSY_LOAD = 0.75
"""Load for each core above which the figures are not to be trusted."""

NOT_MEASURED = "not measured"


def bench_parser(
    bench: str, description: str | None, *, rounds: int | None
) -> argparse.ArgumentParser:
    """Return the parser of a bench with the options that all have.

    :param bench: the name of its module.
    :param rounds: measured unless somebody asks for another number; None when there are none.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.bench.{bench}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if rounds is not None:
        default = f"how often (default: {rounds})"
        parser.add_argument("--rounds", type=int, default=rounds, help=default)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the figures into PAGE")
    return parser


def show(bench: str, arguments: Sequence[str], page: Path | None, lines: Sequence[str]) -> None:
    """Print *lines* below the command that measured them, and put both into *page*."""
    command = shlex.join(["python", "-m", f"tests.bench.{bench}", *arguments])
    text = "\n".join([f"Command: `{command}`", "", *lines])
    print(text)
    if page is not None:
        replace_measured(page, bench.replace("_", "-"), text)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures hold for.

    :param memory: bytes.
    :param load: the load average when the run began.
    """

    cores: int
    memory: int
    load: float
    versions: tuple[tuple[str, str], ...]

    @classmethod
    def now(cls, *versions: tuple[str, str]) -> Machine:
        """This machine, with the *versions* of what is measured; says so when it is busy."""
        cores, load = os.cpu_count() or 1, os.getloadavg()[0]
        if load > BUSY_LOAD * cores:
            print(f"bench: the machine is busy (load {load:.1f}); its figures will show it.")
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(cores, memory, load, versions)

    @property
    def lines(self) -> list[str]:
        """The machine in two lines."""
        memory = f"{self.memory / (1 << 30):.0f} GiB of memory"
        versions = ", ".join(" ".join(pair) for pair in self.versions)
        return [
            f"Machine: {self.cores} cores, {memory}; load {self.load:.1f} when it began.",
            f"Versions: {versions}.",
        ]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One case, measured for both sides in each round of one run.

    :param ours: seconds, a figure for each round.
    :param theirs: the same for whom we stand beside, in the same rounds.
    :param limit: the ratio that is promised; None when nothing is.
    """

    title: str
    ours: Sequence[float]
    theirs: Sequence[float]
    limit: float | None = None

    @property
    def ratios(self) -> list[float]:
        """Our time for each unit of theirs, by round."""
        return [our / their for our, their in zip(self.ours, self.theirs, strict=True)]

    @property
    def met(self) -> bool:
        """Whether the median ratio keeps what is promised."""
        return self.limit is None or median(self.ratios) <= self.limit


def compare(comparisons: Sequence[Comparison], ours: str, theirs: str) -> list[str]:
    """Return the table of *comparisons*; the columns are called *ours* and *theirs*."""
    lines = [
        f"| case | {ours}, s | {theirs}, s | ratio | promised | |",
        "|---|---|---|---|---|---|",
    ]
    for case in comparisons:
        promised = "" if case.limit is None else f"at most {case.limit:g}"
        verdict = "" if case.limit is None else "met" if case.met else "missed"
        lines.append(
            f"| {case.title} | {spread(case.ours, 2)} | {spread(case.theirs, 2)}"
            f" | **{spread(case.ratios, 2)}** | {promised} | {verdict} |"
        )
    return lines


def compared(
    machine: Machine, rounds: int, cases: Sequence[Comparison], ours: str, theirs: str
) -> list[str]:
    """Return the lines of a bench that measures *cases* in *rounds* rounds on *machine*."""
    return [
        *machine.lines,
        "",
        f"Medians of {rounds_in_words(rounds)}, smallest and largest in parentheses.",
        "",
        *compare(cases, ours, theirs),
    ]


def spread(values: Sequence[float], digits: int) -> str:
    """Return the median of *values*, with the smallest and the largest in parentheses."""
    if not values:
        return NOT_MEASURED
    low, high = min(values), max(values)
    return f"{median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def rounds_in_words(rounds: int) -> str:
    """Return ``1 round`` or ``N rounds``."""
    return "1 round" if rounds == 1 else f"{rounds} rounds"


def replace_measured(page: Path, name: str, text: str) -> None:
    """Put *text* between the markers of the bench *name* in *page*."""
    begin, end = f"<!-- measured {name}: begin -->", f"<!-- measured {name}: end -->"
    content = page.read_text("utf-8") if page.exists() else ""
    if content.count(begin) != 1 or content.count(end) != 1:
        raise DriverError(
            f"{page} does not hold the lines {begin} and {end} once each.",
            hint="Put them where the table is to stand.",
        )
    pattern = re.escape(begin) + r".*?" + re.escape(end)
    whole = re.sub(pattern, lambda _match: f"{begin}\n{text}\n{end}", content, flags=re.DOTALL)
    write_whole(page, whole.encode())
