# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security updates by the signed index of an archive, and what is not believed."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.trust.packages import Package
from ansible_collections.kiln.immutable.plugins.module_utils.trust.security_index import (
    Archive,
    SecurityIndex,
    Update,
    read_index,
    security_archives,
)

URL = "https://mirror.example.org/debian-security"
ARCHIVE = Archive(URL, "bookworm-security", ("main",))
NOW = datetime(2026, 8, 1, tzinfo=UTC)


def package(name: str, version: str, architecture: str = "amd64") -> Package:
    return Package(name, version, architecture, name, version)


@dataclass
class Mirror:
    """An archive with a key of its own; ``files`` is what it serves."""

    folder: Path
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    # Short: the agent's socket is in it, whose path may have some hundred characters.
    home: str = field(default_factory=lambda: tempfile.mkdtemp(prefix="gpg-"))

    @property
    def keyring(self) -> Path:
        return self.folder / "keyring.gpg"

    def gpg(self, *arguments: str) -> None:
        argv = ["gpg", "--homedir", self.home, "--batch", "--quiet", "--pinentry-mode", "loopback"]
        subprocess.run([*argv, "--passphrase", "", *arguments], check=True, capture_output=True)

    def close(self) -> None:
        """End the key's agent, and remove the key."""
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def serve(
        self, packages: str, *, until: str = "Sat, 08 Aug 2026 00:00:00 UTC", end: str = ".xz"
    ) -> None:
        """Publish an index of *packages*."""
        pack = lzma.compress if end == ".xz" else gzip.compress
        content = pack(packages.encode())
        path = f"main/binary-amd64/Packages{end}"
        digest = hashlib.sha256(content).hexdigest()
        release = self.folder / "Release"
        release.write_text(
            f"Suite: bookworm-security\nValid-Until: {until}\n"
            f"SHA256:\n {digest} {len(content)} {path}\n"
        )
        self.gpg("--yes", "--clearsign", "--output", str(self.folder / "InRelease"), str(release))
        self.files[f"{ARCHIVE.top}/InRelease"] = (self.folder / "InRelease").read_bytes()
        self.files[f"{ARCHIVE.top}/{path}"] = content

    def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.files:
            raise OSError("not there")
        return self.files[url]

    def read(self, **more: object) -> SecurityIndex:
        given = {"keyring": self.keyring, "now": NOW, **more}
        return read_index(
            ARCHIVE,
            "amd64",
            fetch=self.fetch,
            folder=self.folder / "kept",
            **given,  # type: ignore[arg-type]
        )


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    made = Mirror(tmp_path)
    made.gpg("--quick-generate-key", "archive@example.org", "ed25519", "sign", "never")
    made.gpg("--export", "--output", str(made.keyring))
    yield made
    made.close()


OPENSSL = "Package: openssl\nArchitecture: amd64\nVersion: 3.0.17-1~deb12u2\n"


@pytest.mark.parametrize("end", [".xz", ".gz"])
def test_what_the_archive_has_newer_is_an_update(mirror: Mirror, end: str) -> None:
    older = OPENSSL.replace("u2", "u1")
    mirror.serve(f"{OPENSSL}\n{older}\nPackage: other\nArchitecture: amd64\nVersion: 9\n", end=end)
    index = mirror.read()
    assert index.updates([package("openssl", "3.0.16-1~deb12u1")]) == (
        Update("openssl", "3.0.16-1~deb12u1", "3.0.17-1~deb12u2"),
    )
    assert index.updates([package("openssl", "3.0.17-1~deb12u2")]) == ()
    assert index.updates([package("openssl", "3.0.18-1")]) == ()
    assert index.updates([package("openssl", "1", "i386"), package("bash", "1")]) == ()


def test_what_did_not_change_is_not_fetched_again(mirror: Mirror) -> None:
    mirror.serve(OPENSSL)
    first = mirror.read()
    mirror.asked.clear()
    assert mirror.read() == first
    assert mirror.asked == [f"{ARCHIVE.top}/InRelease"]


def test_another_key_is_not_believed(mirror: Mirror, tmp_path: Path) -> None:
    other = Mirror(tmp_path / "other")
    other.folder.mkdir()
    other.gpg("--quick-generate-key", "other@example.org", "ed25519", "sign", "never")
    other.gpg("--export", "--output", str(other.keyring))
    mirror.serve(OPENSSL)
    with pytest.raises(DriverError, match=r"InRelease is not signed by a key of .*other"):
        mirror.read(keyring=other.keyring)
    other.close()


def test_a_changed_byte_is_not_believed(mirror: Mirror) -> None:
    mirror.serve(OPENSSL)
    url = f"{ARCHIVE.top}/InRelease"
    mirror.files[url] = mirror.files[url].replace(b"2026", b"2027")
    with pytest.raises(DriverError, match="is not signed"):
        mirror.read()


def test_an_index_that_is_not_the_signed_one_is_not_believed(mirror: Mirror) -> None:
    mirror.serve(OPENSSL)
    mirror.files[f"{ARCHIVE.top}/main/binary-amd64/Packages.xz"] = lzma.compress(b"Package: x\n")
    with pytest.raises(DriverError, match=r"Packages.xz is not what the signed index says"):
        mirror.read()


def test_a_mirror_that_is_behind_is_said_so(mirror: Mirror) -> None:
    mirror.serve(OPENSSL, until="Sat, 25 Jul 2026 00:00:00 UTC")
    with pytest.raises(DriverError, match="was valid until Sat, 25 Jul 2026"):
        mirror.read()


def test_a_mirror_that_does_not_answer_is_named(mirror: Mirror) -> None:
    with pytest.raises(DriverError, match="InRelease cannot be fetched: not there"):
        mirror.read()


def test_sources_of_both_forms_are_read() -> None:
    one_line = (
        "# deb https://old.example.org x-security main\n"
        "deb https://deb.example.org/debian bookworm main\n"
        f"deb [signed-by=/a.gpg arch=amd64] {URL} bookworm-security main contrib\n"
    )
    entries = (
        "Types: deb deb-src\nURIs: https://deb.example.org/debian\nSuites: trixie trixie-updates\n"
        f"Components: main\n\n# a remark\nTypes: deb\nURIs: {URL}\nSuites: trixie-security\n"
        "Components: main\nSigned-By:\n -----BEGIN\n"
        f"\nTypes: deb\nEnabled: no\nURIs: {URL}\nSuites: sid-security\nComponents: main\n"
    )
    assert security_archives([one_line, entries]) == (
        Archive(URL, "bookworm-security", ("main", "contrib")),
        Archive(URL, "trixie-security", ("main",)),
    )
