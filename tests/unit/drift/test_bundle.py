# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a failed instance."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.drift.bundle import (
    Collector,
    bundle_path,
    write_bundle,
)
from ansible_collections.kiln.immutable.plugins.module_utils.drift.findings import judge
from ansible_collections.kiln.immutable.plugins.module_utils.drift.instance import Instance

INSTANCE = Instance.from_document(
    {
        "Id": "c",
        "Name": "/shop-1",
        "Image": "sha256:1",
        "State": {"Running": False, "ExitCode": 3},
        "Config": {"Env": ["TOKEN=hunter2", "PATH=/usr/bin"]},
    }
)


def engine(argv: Sequence[str], **_more: object) -> Completed:
    """Answer for an instance that ended: it has logs and no processes."""
    if "logs" in argv:
        return Completed(0, b"to stdout\n", b"to stderr\n")
    if "top" in argv:
        return Completed(1, b"", b"Container c is not running\n")
    raise DriverError("docker did not end within 60 s.")


def test_a_bundle_holds_all_that_can_be_had_and_says_what_cannot(tmp_path: Path) -> None:
    parts = Collector(runner=engine).parts(INSTANCE, "it ended", judge("shop-1", "web 1", [], ()))
    assert parts["logs.txt"] == b"to stdout\nto stderr\n"
    assert b"not running" in parts["processes.txt"]
    assert b"did not end within" in parts["changes.txt"]
    assert json.loads(parts["inspect.json"])["State"]["ExitCode"] == 3
    path = bundle_path(tmp_path, "shop", "shop-1", 0.0)
    write_bundle(path, parts, 0.0)
    assert path == tmp_path / "bundles" / "shop" / "shop-1-19700101T000000Z.tar.gz"
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        assert set(archive.getnames()) == {
            f"shop-1-19700101T000000Z/{name}"
            for name in (
                *("why.txt", "inspect.json", "drift.json"),
                *("logs.txt", "processes.txt", "changes.txt"),
            )
        }


def test_values_of_the_environment_are_not_kept() -> None:
    parts = Collector(runner=engine).parts(INSTANCE, "it ended", "the store lacks it")
    assert b"hunter2" not in b"".join(parts.values())
    assert b"PATH=/usr/bin" in parts["inspect.json"]
    assert json.loads(parts["drift.json"]) == {"error": "the store lacks it"}


def test_no_name_leads_out_of_the_home(tmp_path: Path) -> None:
    path = bundle_path(tmp_path, "../../etc", "../x", 0.0)
    assert path.resolve().is_relative_to(tmp_path / "bundles")
