# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known vulnerabilities: what the security archive has fixed, and what installed scanners say."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..core import canonical
from ..core.command import Runner, last_lines, run
from ..core.errors import DriverError
from ..oci.predicates import SCANNER, VULNERABILITIES
from ..oci.statement import Statement
from .packages import Package, compare_versions
from .security_index import Archive, SecurityIndex

_SCANNER_SECONDS = 600.0
_SCANNERS: Mapping[str, tuple[str, ...]] = {
    "grype": ("grype", "--quiet", "--output", "json"),
    "trivy": ("trivy", "sbom", "--quiet", "--format", "json"),
}


def vulnerabilities_statement(
    packages: Sequence[Package],
    archives: Sequence[Archive],
    read: Callable[[Archive], SecurityIndex],
    *,
    now: float,
) -> Statement:
    """Return which of *packages* the security archives have in a newer version.

    When there is no archive to ask, or one does not answer, the status is ``unknown`` and says
    why: a mirror that is away fails no bake, and passes no policy either.

    :param read: gives the index of an archive; DriverError when it cannot be had or believed.
    :param now: seconds since the epoch.
    """
    problems = [] if archives else ["The image's package sources name no security archive."]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    named = {(one.name, one.version): one for one in packages}
    for archive in archives:
        try:
            updates = read(archive).updates(packages)
        except DriverError as error:
            problems.append(error.message)
            continue
        for update in updates:
            package = named[update.name, update.installed]
            before = found.get((update.name, update.installed))
            if before is None or compare_versions(before["fixed"], update.available) < 0:
                found[update.name, update.installed] = {
                    "name": update.name,
                    "version": update.installed,
                    "fixed": update.available,
                    "suite": archive.suite,
                    "source": package.source,
                    "layer": package.layer,
                }
    return Statement(
        VULNERABILITIES,
        {
            "status": "unknown" if problems else "complete",
            "problems": problems,
            "archives": [f"{one.url} {one.suite}" for one in archives],
            "fixable": len(found),
            "packages": [found[key] for key in sorted(found)],
            "scanned": utc(now),
        },
    )


def scanner_statements(
    bill: Mapping[str, Any],
    *,
    clock: Callable[[], float],
    which: Callable[[str], str | None] = shutil.which,
    runner: Runner = run,
) -> tuple[list[Statement], list[str]]:
    """Return what grype and trivy, those that are installed, say of a CycloneDX *bill*.

    :param clock: seconds since the epoch.
    :param which: finds a program.

    Returns the statements, and a sentence for each scanner that failed.
    """
    statements, problems = [], []
    for name, argv in _SCANNERS.items():
        if which(name) is None:
            continue
        started = clock()
        with tempfile.TemporaryDirectory(prefix="kiln-") as folder:
            path = Path(folder) / "sbom.cdx.json"
            path.write_bytes(canonical.encode(bill))
            target = f"sbom:{path}" if name == "grype" else str(path)
            done = runner([*argv, target], check=False, timeout=_SCANNER_SECONDS)
        if done.status != 0:
            problems.append(f"{name} failed with exit status {done.status}: {last_lines(done)}")
            continue
        try:
            result = json.loads(done.stdout)
        except ValueError:
            problems.append(f"{name} answered no JSON.")
            continue
        version = (result.get("descriptor") or {}).get("version", "") if name == "grype" else ""
        statements.append(
            Statement(
                SCANNER,
                {
                    "invocation": {"parameters": list(argv[1:])},
                    "scanner": {"uri": name, "version": version, "result": result},
                    "metadata": {
                        "scanStartedOn": utc(started),
                        "scanFinishedOn": utc(clock()),
                    },
                },
            )
        )
    return statements, problems


def utc(now: float) -> str:
    """Return *now*, seconds since the epoch, as RFC 3339."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
