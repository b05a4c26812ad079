# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preparing sees what is missing, and leaves alone what is not ours to start."""

from __future__ import annotations

import socket
from pathlib import Path

import prepare
import provision
import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty home, with nothing said about where the engine is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_an_engine_answers_when_its_socket_takes_connections(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(home / "engine.sock"))
        engine.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/engine.sock")
        assert prepare.engine_error() is None


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("unix:///nonexistent/engine.sock", "No such file or directory"),
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("127.0.0.1:1", "Connection refused"),
        ("tcp://no-port", ""),
    ],
)
def test_an_engine_that_is_not_there_is_named_with_the_reason(
    address: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    error = prepare.engine_error()
    assert error is not None
    assert error.startswith(f"{address}: {reason}")


def test_an_engine_behind_ssh_is_left_to_the_bake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://build.example.org")
    assert prepare.engine_error() is None


@pytest.mark.usefixtures("home")
def test_an_engine_elsewhere_is_never_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/engine.sock")
    monkeypatch.setattr(provision, "start_engine", lambda: pytest.fail("started an engine"))
    assert "DOCKER_HOST (unix:///nonexistent/engine.sock" in " ".join(provision.reach_engine())


def test_a_docker_context_counts_as_an_engine_elsewhere(home: Path) -> None:
    assert not provision.engine_is_elsewhere()
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text('{"currentContext": "rootless"}')
    assert provision.engine_is_elsewhere()


def test_changed_requirements_make_the_environment_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "ROOT", str(tmp_path))
    monkeypatch.setattr(prepare, "ENVIRONMENT", str(tmp_path))
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("one==1\n")
    assert not prepare.environment_is_complete("bake")
    Path(prepare.stamp("bake")).write_text(prepare.requirements_digest("bake"))
    assert prepare.environment_is_complete("bake")
    requirements.write_text("one==2\n")
    assert not prepare.environment_is_complete("bake")
