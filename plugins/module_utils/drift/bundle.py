# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a failed instance before it goes: a file with its logs, drift and state."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..core.command import Runner, run
from ..core.errors import DriverError
from ..core.files import write_whole
from .findings import Report
from .instance import Instance

HIDDEN = "(hidden)"
LOG_LINES = 10_000
_SHOWN_VARIABLES = frozenset(("PATH", "LANG", "LC_ALL", "TZ", "HOME", "TERM", "HOSTNAME"))
_ENDURES = 60.0


@dataclass(frozen=True, slots=True)
class Collector:
    """Asks an engine for what it knows of an instance.

    What cannot be had says so in its place: an instance that failed may be half gone, and what is
    left is worth having.
    """

    client: tuple[str, ...] = ("docker",)
    runner: Runner = field(default=run)

    def parts(self, instance: Instance, why: str, report: Report | str) -> dict[str, bytes]:
        """Return the files of a bundle by their names.

        :param why: what failed, for people.
        :param report: its drift, or why that could not be found out.
        """
        if isinstance(report, str):
            drift: Any = {"error": report}
        else:
            drift = report.as_json()
        return {
            "why.txt": f"{why}\n".encode(),
            "inspect.json": _json(without_secrets(instance.document)),
            "drift.json": _json(drift),
            "logs.txt": self._ask(
                "logs", "--timestamps", "--details", "--tail", str(LOG_LINES), instance.id
            ),
            "processes.txt": self._ask("top", instance.id, "-eo", "pid,ppid,user,stat,time,args"),
            "changes.txt": self._ask("diff", instance.id),
        }

    def _ask(self, *argv: str) -> bytes:
        try:
            done = self.runner([*self.client, *argv], check=False, timeout=_ENDURES)
        except DriverError as error:
            return f"{error}\n".encode()
        # A program's own errors are in the log too, on the client's other output.
        return done.stdout + done.stderr


def without_secrets(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the engine says of a container without the values of its environment."""
    config = dict(document.get("Config") or {})
    config["Env"] = [_masked(str(line)) for line in config.get("Env") or ()]
    return {**document, "Config": config}


def _masked(line: str) -> str:
    name, _equals, _value = line.partition("=")
    return line if name in _SHOWN_VARIABLES else f"{name}={HIDDEN}"


def bundle_path(root: Path, group: str, instance: str, now: float) -> Path:
    """Return where the bundle of *instance* goes in the home *root*.

    :param now: seconds since 1970.
    """
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    folder, name = (re.sub(r"[^A-Za-z0-9_.-]", "_", one) for one in (group, instance))
    return root / "bundles" / (folder.lstrip(".") or "none") / f"{name.lstrip('.')}-{moment}.tar.gz"


def write_bundle(path: Path, parts: Mapping[str, bytes], now: float) -> None:
    """Write *parts* to *path*, a tar in gzip that only its owner may read."""
    stream = io.BytesIO()
    folder = path.name.removesuffix(".tar.gz")
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(parts):
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size, info.mode, info.mtime = len(parts[name]), 0o600, int(now)
            archive.addfile(info, io.BytesIO(parts[name]))
    write_whole(path, gzip.compress(stream.getvalue(), 6, mtime=int(now)), mode=0o600)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"
