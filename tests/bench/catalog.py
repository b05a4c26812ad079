# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what a catalog of 5,000 versions costs that a team shares through a Git remote.

    make bench BENCH=catalog

It ends with 1 when a promised figure was missed. docs/performance.md says what is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from ansible_collections.kiln.immutable.plugins.module_utils.catalog.documents import (
    write_document,
)
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.version import Version

from .sheet import Machine, bench_parser, rounds_in_words, show, spread

IMAGES, EACH = 50, 100
LIMIT = 2.0
ROOT = Path(__file__).resolve().parents[2]
_STAMP = "2026-08-01T12:00:00Z"


def main(arguments: Sequence[str]) -> int:
    """Run the bench; return the exit status."""
    options = bench_parser("catalog", __doc__, rounds=5).parse_args(arguments)
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout
    machine = Machine.now(("Git", git.split()[-1]), ("Python", sys.version.split()[0]))
    cases: dict[str, list[float]] = {"status": [], "promote": [], "promote, shared": []}
    with tempfile.TemporaryDirectory(prefix="kiln-bench-") as scratch:
        home, remote = Path(scratch) / "home", Path(scratch) / "remote.git"
        write_catalog(home / "catalog")
        _git(Path(scratch), "clone", "--quiet", "--bare", str(home / "catalog"), str(remote))
        for number in range(options.rounds + 1):
            channel = f"kiln_version=1.0.{number + 1}"
            wanted = ["kiln_image=image07", "kiln_channel=prod", "kiln_reason=bench", channel]
            timed = {
                "status": _play(home, "status"),
                "promote": _play(home, "promote", *wanted),
                "promote, shared": _play(
                    home, "promote", *wanted, f"kiln_catalog_remote={remote}", image="image08"
                ),
            }
            # The first round fills the caches of the file system, and is not counted.
            if number:
                for case, seconds in timed.items():
                    cases[case].append(seconds)
            _git(home / "catalog", "remote", "remove", "origin")
    rows = ["| what | seconds | promised | |", "|---|---|---|---|"]
    for case, figures in cases.items():
        verdict = "met" if median(figures) <= LIMIT else "missed"
        rows.append(f"| {case} | {spread(figures, 2)} | at most {LIMIT:g} | {verdict} |")
    lines = [
        *machine.lines,
        "",
        f"A catalog of {IMAGES * EACH} versions of {IMAGES} images, three channels each:",
        f"whole runs of `ansible-playbook`, {rounds_in_words(options.rounds)}.",
        "",
        *rows,
    ]
    show("catalog", arguments, options.write, lines)
    return 0 if all(median(figures) <= LIMIT for figures in cases.values()) else 1


def write_catalog(root: Path) -> None:
    """Write a catalog of many versions, committed at once."""
    for image in range(IMAGES):
        name = f"image{image:02}"
        folder = root / "images" / name / "versions"
        folder.mkdir(parents=True)
        for patch in range(1, EACH + 1):
            content = write_document(_version(name, patch).as_document())
            (folder / f"1.0.{patch}.yml").write_bytes(content)
        channels = {
            channel: {
                "version": f"1.0.{EACH - back}",
                "moves": [
                    {
                        "version": f"1.0.{EACH - back - step}",
                        "at": _STAMP,
                        "by": "a <a@example.org>",
                        "reason": "bench",
                    }
                    for step in range(20)
                ],
            }
            for back, channel in enumerate(("dev", "staging", "prod"))
        }
        (root / "images" / name / "channels.yml").write_bytes(
            write_document({"channels": channels})
        )
    _git(root, "init", "--quiet", "--initial-branch", "main")
    _git(root, "add", "--all")
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    _git(root, *who, "commit", "--quiet", "--message", "bench")


def _version(image: str, patch: int) -> Version:
    return Version(
        image=image,
        number=f"1.0.{patch}",
        index=f"sha256:{patch:064x}",
        config=f"sha256:{patch:064x}",
        bake_key=f"sha256:{patch:064x}",
        definition_digest=f"sha256:{patch:064x}",
        definition_revision="0" * 40,
        created=_STAMP,
        size=70_000_000,
        base="image" if image != "image00" else "debootstrap",
        parent="image00" if image != "image00" else None,
        parent_version=f"1.0.{patch}" if image != "image00" else None,
        recorded=_STAMP,
    )


def _play(home: Path, name: str, *variables: str, image: str = "") -> float:
    program = Path(sys.executable).with_name("ansible-playbook")
    given = [*variables, f"kiln_image={image}"] if image else list(variables)
    argv = [sys.executable, str(program), str(ROOT / "playbooks" / f"{name}.yml")]
    started = time.perf_counter()
    done = subprocess.run(
        [*argv, *(word for one in given for word in ("-e", one))],
        env={**os.environ, "KILN_HOME": str(home)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    return seconds


def _git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(root), *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
