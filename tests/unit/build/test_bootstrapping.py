# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bootstrap's root is in memory where that is possible, and on the disk where it is not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.bootstrapping import (
    ENOUGH,
    available_memory,
    in_memory,
    run_bootstrap,
)


@pytest.fixture
def outputs() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Return two empty files, for what a program gives and for what it says."""
    with tempfile.TemporaryFile() as tar, tempfile.TemporaryFile() as log:
        yield tar, log


def content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put programs of the test's own first on the PATH, as root sees them; return their folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("TMPDIR", raising=False)
    return folder


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_free_memory_is_read_from_the_kernel_s_report(tmp_path: Path) -> None:
    report = tmp_path / "meminfo"
    report.write_text("MemTotal:       24684096 kB\nMemAvailable:   8 kB\n")
    assert available_memory(report) == 8192
    report.write_text("MemTotal:       24684096 kB\n")
    assert available_memory(report) == 0
    assert available_memory(tmp_path / "nothing") == 0


def test_with_little_memory_nothing_is_mounted(programs: Path, tmp_path: Path) -> None:
    program(programs / "unshare", "exit 0")
    assert in_memory(["true"], tmp_path, ENOUGH - 1) is None
    assert in_memory(["true"], tmp_path, ENOUGH) is not None


@pytest.mark.usefixtures("programs")
def test_who_is_not_root_mounts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert in_memory(["true"], tmp_path, ENOUGH) is None


def test_where_nothing_can_be_mounted_the_root_is_on_the_disk(
    programs: Path, outputs: tuple[IO[bytes], IO[bytes]]
) -> None:
    tar, log = outputs
    program(programs / "unshare", "exit 1")
    assert run_bootstrap(["sh", "-c", 'echo "${TMPDIR:-none}"'], tar, log, lambda: ENOUGH) == 0
    assert content(tar) == "none\n"


def test_what_is_mounted_is_where_temporary_files_go(
    programs: Path, tmp_path: Path, outputs: tuple[IO[bytes], IO[bytes]]
) -> None:
    tar, log = outputs
    # As root has them, but without a namespace: the command after the options is run.
    program(programs / "unshare", 'shift && exec "$@"')
    program(programs / "mount", f'echo "$@" >> {tmp_path}/mounts')
    assert run_bootstrap(["sh", "-c", 'echo "$TMPDIR"; exit 3'], tar, log, lambda: ENOUGH) == 3
    mount = (tmp_path / "mounts").read_text().splitlines()[-1].split()
    assert mount[:4] == ["-t", "tmpfs", "-o", f"size={ENOUGH // 2},mode=0755"]
    assert content(tar).strip() == mount[-1]
    assert not Path(mount[-1]).exists()


def test_a_root_that_is_too_large_for_the_memory_is_made_on_the_disk(
    programs: Path, outputs: tuple[IO[bytes], IO[bytes]]
) -> None:
    tar, log = outputs
    program(programs / "unshare", 'shift && exec "$@"')
    program(programs / "mount", "exit 0")
    script = (
        'if [ "$TMPDIR" ]; then echo half; echo "tar: No space left on device" >&2; exit 2; fi; '
        "echo whole; echo done >&2"
    )
    assert run_bootstrap(["sh", "-c", script], tar, log, lambda: ENOUGH) == 0
    assert content(tar) == "whole\n"
    assert content(log) == "done\n"


def test_another_failure_is_not_tried_again(
    programs: Path, tmp_path: Path, outputs: tuple[IO[bytes], IO[bytes]]
) -> None:
    tar, log = outputs
    program(programs / "unshare", 'shift && exec "$@"')
    program(programs / "mount", "exit 0")
    script = f"echo once >> {tmp_path}/runs; echo no such suite >&2; exit 1"
    assert run_bootstrap(["sh", "-c", script], tar, log, lambda: ENOUGH) == 1
    assert (tmp_path / "runs").read_text() == "once\n"
    assert "no such suite" in content(log)
