# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Catalogs of real Git repositories, and a bare one that they share."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.version import (
    Version,
    VersionNumber,
)

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_git_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Git find no settings of whoever runs the tests, as on a new machine."""
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in list(os.environ):
        if (name.startswith("GIT_") and name != "GIT_CONFIG_NOSYSTEM") or name == "XDG_CONFIG_HOME":
            monkeypatch.delenv(name)


@dataclass(frozen=True)
class Shelf:
    """Catalogs in a folder, one for each machine, and what fills them."""

    folder: Path

    @property
    def remote(self) -> Path:
        """A bare repository, made when it is asked for first."""
        path = self.folder / "remote.git"
        if not path.exists():
            argv = ["git", "init", "--quiet", "--bare", "--initial-branch", "main", str(path)]
            subprocess.run(argv, check=True)
        return path

    def catalog(self, name: str = "catalog", *, shared: bool = False) -> Catalog:
        """Return the catalog of the machine *name*."""
        remote = str(self.remote) if shared else ""
        return Catalog(self.folder / name, remote=remote, now=lambda: NOW)

    def git(self, folder: Path | Catalog, *arguments: str) -> str:
        """Run git in a repository and return what it says."""
        root = folder.root if isinstance(folder, Catalog) else folder
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.rstrip("\n")

    def record(self, catalog: Catalog, number: int, image: str = "web", **more: Any) -> Version:
        """Record a version of the bytes that *number* stands for."""
        return catalog.record(image, "1.0", index(number), maker(image, index(number), **more))[0]


def index(number: int) -> str:
    """The digest of made-up bytes."""
    return f"sha256:{number:064x}"


def maker(image: str, digest: str, **more: Any) -> Callable[[VersionNumber], Version]:
    """What gives a version its number."""

    def make(number: VersionNumber) -> Version:
        return Version(
            image=image,
            number=str(number),
            index=digest,
            config="sha256:c",
            bake_key="sha256:k",
            definition_digest="sha256:d",
            definition_revision=None,
            created="2026-01-10T10:30:12Z",
            size=7,
            base="image" if more.get("parent") else "debootstrap",
            **more,
        )

    return make


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Give an empty shelf."""
    return Shelf(tmp_path)
