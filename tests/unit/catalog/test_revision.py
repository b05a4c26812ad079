# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which commit a definition is from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.revision import (
    definition_revision,
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "app" / "images"
    folder.mkdir(parents=True)
    (folder / "web.yml").write_text("base: {}\n")
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True)
    return folder


def commit_of(folder: Path) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_committed_definition_has_its_commit(images: Path) -> None:
    assert definition_revision(images) == commit_of(images)


def test_a_changed_definition_is_marked(images: Path) -> None:
    (images / "web.yml").write_text("base: {image: x}\n")
    assert definition_revision(images) == f"{commit_of(images)}-dirty"


def test_changes_elsewhere_in_the_repository_do_not_count(images: Path) -> None:
    (images.parent / "README.md").write_text("new\n")
    assert definition_revision(images) == commit_of(images)


def test_outside_of_a_repository_there_is_none(tmp_path: Path) -> None:
    assert definition_revision(tmp_path) is None


def test_before_the_first_commit_there_is_none(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert definition_revision(tmp_path) is None


def test_without_git_there_is_none(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(images))
    assert definition_revision(images) is None
