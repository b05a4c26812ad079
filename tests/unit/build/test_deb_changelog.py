# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the changelog out of a package."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.deb_changelog import (
    deb_changelog,
)


def build(folder: Path, files: Mapping[str, bytes], compression: str = "xz") -> Path:
    """Build a package with dpkg-deb."""
    root = folder / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: app\nVersion: 1\nArchitecture: all\n"
        "Maintainer: a <a@example.org>\nDescription: a\n"
    )
    doc = root / "usr" / "share" / "doc" / "app"
    doc.mkdir(parents=True)
    for name, content in files.items():
        (doc / name).write_bytes(content)
    target = folder / "app.deb"
    argv = ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", str(root), str(target)]
    subprocess.run(argv, check=True, capture_output=True)
    return target


@pytest.mark.parametrize("compression", ["xz", "gzip", "none"])
def test_the_changelog_is_found_however_the_package_is_packed(
    tmp_path: Path, compression: str
) -> None:
    content = gzip.compress(b"app (1) unstable; urgency=low\n")
    path = build(tmp_path, {"changelog.Debian.gz": content}, compression)
    assert deb_changelog(path, "app") == "app (1) unstable; urgency=low\n"


def test_debian_s_own_comes_before_that_of_the_program(tmp_path: Path) -> None:
    files = {"changelog.gz": gzip.compress(b"upstream"), "changelog.Debian": b"debian"}
    assert deb_changelog(build(tmp_path, files), "app") == "debian"


def test_a_package_without_one_has_none(tmp_path: Path) -> None:
    assert deb_changelog(build(tmp_path, {"copyright": b"free"}), "app") is None
    other = tmp_path / "other"
    other.write_bytes(b"no package")
    assert deb_changelog(other, "app") is None
