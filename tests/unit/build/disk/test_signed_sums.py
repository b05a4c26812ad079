# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The signature of a folder's checksums, by gpg itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.signed_sums import (
    is_signed,
    sign_sums,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import run
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

KEY = "ops@example.org"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder with a list; gpg has a key of its own for it."""
    make = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key"]
    # Its agent's socket is there, whose path may have 107 characters; a test's own may be longer.
    with tempfile.TemporaryDirectory(prefix="kiln-", ignore_cleanup_errors=True) as home:
        monkeypatch.setenv("GNUPGHOME", home)
        run([*make, KEY, "ed25519", "sign", "never"])
        target = tmp_path / "disks"
        target.mkdir()
        (target / "SHA256SUMS").write_text(f"{'a' * 64}  web_1.0.1.efi\n")
        yield target
        run(["gpgconf", "--kill", "gpg-agent"])


def test_a_list_is_signed_until_it_changes(folder: Path) -> None:
    before = is_signed(folder, KEY)
    sign_sums(folder, KEY)
    after = is_signed(folder, KEY)
    with (folder / "SHA256SUMS").open("a") as stream:
        stream.write(f"{'b' * 64}  web_1.0.2.efi\n")

    assert (before, after, is_signed(folder, KEY)) == (False, True, False)


def test_the_signature_of_somebody_else_is_none_of_ours(folder: Path) -> None:
    sign_sums(folder, KEY)

    assert not is_signed(folder, "other@example.org")


def test_a_key_that_is_not_there_is_told_of(folder: Path) -> None:
    with pytest.raises(DriverError, match=r"could not be signed by other@example\.org: "):
        sign_sums(folder, "other@example.org")
    assert not (folder / "SHA256SUMS.gpg").exists()
