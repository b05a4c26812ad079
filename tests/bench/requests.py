# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the requests that are answered while groups are rotated, disturbed and rolled back.

    make bench BENCH=requests

What is counted is what the integration tests count: it runs them. It ends with 1 when one of them
fails, as each does when a single request is lost, or when there were too few.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from .sheet import Machine, bench_parser, show

ROOT = Path(__file__).resolve().parents[2]
TESTS = "tests/integration/groups/test_rotation.py"
WANTED = 50_000


def main(arguments: Sequence[str]) -> int:
    """Run the tests, print the table, and put it into the page that is named."""
    options = bench_parser("requests", __doc__, rounds=None).parse_args(arguments)
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    engine = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    machine = Machine.now(("Docker Engine", engine))
    with tempfile.TemporaryDirectory(prefix="kiln-bench-") as scratch:
        report = Path(scratch) / "report.xml"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--quiet", f"--junitxml={report}", TESTS],
            cwd=ROOT,
            check=False,
        )
        counted = list(_counted(report)) if report.exists() else []
    total = sum(requests for _what, _backend, requests in counted)
    met = done.returncode == 0 and total >= WANTED
    failed = "none" if done.returncode == 0 else "a test failed: see its output"
    lines = [
        *machine.lines,
        "",
        "| what happened | backend | requests answered |",
        "|---|---|---|",
        *(f"| {what} | {backend} | {requests:,} |" for what, backend, requests in counted),
        "",
        "| requests in all | promised | lost | |",
        "|---|---|---|---|",
        f"| {total:,} | at least {WANTED:,} | {failed} | {'met' if met else 'missed'} |",
    ]
    show("requests", arguments, options.write, lines)
    return 0 if met else 1


def _counted(report: Path) -> Iterator[tuple[str, str, int]]:
    """Yield what each test that counted is about, on which backend, and how many requests."""
    # pytest wrote it, just now.
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        for one in case.iter("property"):
            if one.get("name") == "requests" and int(one.get("value", "0")):
                name, _bracket, backend = case.get("name", "").rstrip("]").partition("[")
                what = name.removeprefix("test_").replace("_", " ")
                yield what, backend, int(one.get("value", "0"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
