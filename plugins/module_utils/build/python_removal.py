# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages go with Debian's Python, and what forbids it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..core.command import Runner
from ..core.errors import DriverError

# What Ansible needs on its target; everything else of Python was asked for by somebody.
TOOLING = re.compile(
    r"(python3(\.\d+)?(-minimal)?|libpython3(\.\d+)?(-minimal|-stdlib)?"
    r"|python3-apt|python-apt-common|python3-distutils|python3-lib2to3)"
)

# Without these even a simulation writes caches and a log.
_WRITING_NOTHING = (
    "--option=Dir::Cache::pkgcache=",
    "--option=Dir::Cache::srcpkgcache=",
    "--option=Dir::Log::Planner=/dev/null",
)

_KEEP = "Set seal_python to keep, or leave the package out."


def installed_tooling(status: str) -> tuple[str, ...]:
    """Return the packages of Python that dpkg's *status* file says are there, sorted."""
    names = []
    for stanza in status.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " "
        )
        name = fields.get("Package", "")
        if TOOLING.fullmatch(name) and not fields.get("Status", "").endswith(
            ("not-installed", "config-files")
        ):
            names.append(name)
    return tuple(sorted(names))


def removals(simulation: str) -> tuple[str, ...]:
    """Return the packages that a run of ``apt-get --simulate`` would remove."""
    return tuple(re.findall(r"^(?:Purg|Remv) (\S+)", simulation, flags=re.MULTILINE))


def plan_removal(root: Path, run: Runner) -> tuple[str, ...]:
    """Return the packages to purge so that no Python stays; none when there is none.

    Packages that were installed automatically and that only Python needed go too; those that
    nothing needed before are none of our business. DriverError when a package that was asked for
    needs Python, or when Python modules were installed beside the packages.
    """
    tooling = installed_tooling((root / "var/lib/dpkg/status").read_text("utf-8", "replace"))
    if not tooling:
        return ()
    apt = ("apt-get", "--simulate", "--quiet=2", *_WRITING_NOTHING)
    idle = set(removals(run((*apt, "autoremove")).text))
    forced = removals(run((*apt, "purge", *tooling)).text)
    needing = [name for name in forced if name not in idle and not TOOLING.fullmatch(name)]
    if needing:
        raise DriverError(
            f"Python cannot be removed because {_named(needing)} needs it.", hint=_KEEP
        )
    for place in sorted((root / "usr/local/lib").glob("python3*/*-packages/*")):
        if place.name != "__pycache__":
            raise DriverError(
                f"Python cannot be removed because /{place.relative_to(root)} needs it.",
                hint="Set seal_python to keep, or remove what pip installed.",
            )
    every = removals(run((*apt, "--auto-remove", "purge", *tooling)).text)
    return tuple(sorted((set(every) - idle) | set(tooling)))


def _named(names: Iterable[str]) -> str:
    listed = sorted(names)
    return listed[0] if len(listed) == 1 else f"each of {', '.join(listed)}"
