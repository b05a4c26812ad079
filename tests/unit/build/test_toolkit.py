# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The toolkit's volume: one for each Debian release, filled once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolkit import (
    Pinned,
    ensure_toolkit,
    made_of,
    toolkit_volume,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

VOLUME = toolkit_volume("bookworm", "amd64")


class FakeDocker:
    """Knows volumes; a container that fills one ends as it is told."""

    def __init__(self) -> None:
        self.volumes: dict[str, str] = {}
        self.runs: list[Sequence[str]] = []
        self.answer = Completed(0, b"[]", b"")

    def __call__(self, argv: Sequence[str], **_given: Any) -> Completed:
        match list(argv[1:3]):
            case ["volume", "ls"]:
                lines = (f"{name} {mark}\n" for name, mark in self.volumes.items())
                return Completed(0, "".join(lines).encode(), b"")
            case ["volume", "create"]:
                (mark,) = (one for one in argv if one.startswith("io.kiln.toolkit="))
                self.volumes.setdefault(argv[-1], mark.partition("=")[2])
            case ["run", "--rm"]:
                self.runs.append(argv)
                return self.answer
        return Completed(0, b"", b"")


@pytest.fixture
def docker() -> FakeDocker:
    return FakeDocker()


def ensure(docker: FakeDocker, home: Path) -> str:
    return ensure_toolkit(
        Engine(docker),
        Home(home),
        image=lambda: "a-base",
        suite="bookworm",
        architecture="amd64",
        session="5e55",
        say=lambda _text: None,
    )


def test_a_volume_is_named_by_release_and_architecture() -> None:
    assert VOLUME.startswith("kiln-toolkit-bookworm-amd64-")
    others = {toolkit_volume("trixie", "amd64"), toolkit_volume("bookworm", "arm64")}
    assert len({VOLUME, *others}) == 3


def test_it_is_filled_once(docker: FakeDocker, tmp_path: Path) -> None:
    assert ensure(docker, tmp_path) == VOLUME
    assert ensure(docker, tmp_path) == VOLUME
    assert len(docker.runs) == 1


def test_the_container_that_fills_it_belongs_to_the_session(
    docker: FakeDocker, tmp_path: Path
) -> None:
    ensure(docker, tmp_path)
    (argv,) = docker.runs
    assert "io.kiln.session=5e55" in argv
    assert "a-base" in argv
    assert argv[argv.index("--pull") + 1] == "never"


def test_a_removed_volume_is_filled_again(docker: FakeDocker, tmp_path: Path) -> None:
    ensure(docker, tmp_path)
    docker.volumes.clear()
    ensure(docker, tmp_path)
    assert len(docker.runs) == 2


def test_a_volume_of_another_name_is_not_taken_for_it(docker: FakeDocker, tmp_path: Path) -> None:
    ensure(docker, tmp_path)
    docker.volumes = {f"{VOLUME}-old": docker.volumes[VOLUME]}
    ensure(docker, tmp_path)
    assert len(docker.runs) == 2


def test_a_volume_that_another_home_made_anew_is_asked_for_and_not_taken_as_filled(
    docker: FakeDocker, tmp_path: Path
) -> None:
    ensure(docker, tmp_path / "one")
    docker.volumes[VOLUME] = "of another home"
    ensure(docker, tmp_path / "one")
    ensure(docker, tmp_path / "one")
    assert len(docker.runs) == 2


def test_a_volume_from_before_there_were_marks_is_still_good(
    docker: FakeDocker, tmp_path: Path
) -> None:
    docker.volumes[VOLUME] = ""
    ensure(docker, tmp_path)
    ensure(docker, tmp_path)
    assert len(docker.runs) == 1


def test_what_failed_is_said_and_done_again_by_the_next(docker: FakeDocker, tmp_path: Path) -> None:
    docker.answer = Completed(100, b"", b"W: something\nE: Unable to locate package python3\n")
    with pytest.raises(
        DriverError, match=r"bookworm could not be made.*Unable to locate"
    ) as failed:
        ensure(docker, tmp_path)
    assert "archive answers" in failed.value.hint
    docker.answer = Completed(0, b"[]", b"")
    ensure(docker, tmp_path)
    assert len(docker.runs) == 2


def pinned(docker: FakeDocker, home: Path, digest: str) -> str:
    return ensure_toolkit(
        Engine(docker),
        Home(home),
        image=lambda: "a-base",
        suite="bookworm",
        architecture="amd64",
        session="5e55",
        say=lambda _text: None,
        pinned=Pinned(digest, "/run/kiln/locked", lambda: b"a repository"),
    )


def test_a_lock_takes_the_toolkit_that_is_made_of_its_packages(
    docker: FakeDocker, tmp_path: Path
) -> None:
    packages = [{"name": "python3", "version": "3", "architecture": "all", "sha256": "0" * 64}]
    docker.answer = Completed(0, json.dumps(packages).encode(), b"")
    ensure(docker, tmp_path)
    assert pinned(docker, tmp_path, made_of(packages)) == VOLUME
    assert len(docker.runs) == 1


def test_a_lock_has_another_made_without_a_network(docker: FakeDocker, tmp_path: Path) -> None:
    ensure(docker, tmp_path)
    volume = pinned(docker, tmp_path, "sha256:" + "ab" * 32)
    assert volume == f"{VOLUME}-abababababab"
    argv = docker.runs[-1]
    assert argv[argv.index("--network") + 1] == "none"
    assert argv[-1] == "/run/kiln/locked"
    assert ensure(docker, tmp_path) == VOLUME


def test_what_a_toolkit_is_made_of_has_no_order() -> None:
    one, two = ({"name": name, "version": "1", "sha256": "0"} for name in "ab")
    assert made_of([one, two]) == made_of([two, one])
    assert made_of([one]) != made_of([one, two]) != made_of([one, {**two, "sha256": "1"}])
