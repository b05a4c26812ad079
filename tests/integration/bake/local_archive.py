# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A signed Debian archive of small packages that build containers reach, and a base for it."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KEYRING = "usr/share/keyrings/local.gpg"


class Signer:
    """A key of GnuPG that signs archives."""

    def __init__(self) -> None:
        self._gnupg = Path(tempfile.mkdtemp(prefix="kiln-test-gpg-"))
        options = ["--pinentry-mode", "loopback", "--passphrase", ""]
        self.gpg(*options, "--quick-generate-key", "local archive", "ed25519", "sign", "never")

    def gpg(self, *arguments: str, given: bytes = b"") -> bytes:
        """Run gpg with this key and return its output."""
        argv = ["gpg", "--homedir", str(self._gnupg), "--batch", "--quiet", *arguments]
        return subprocess.run(argv, input=given, capture_output=True, check=True).stdout

    def close(self) -> None:
        """Remove the key."""
        subprocess.run(
            ["gpgconf", "--homedir", self._gnupg, "--kill", "gpg-agent"], check=False, timeout=30
        )
        shutil.rmtree(self._gnupg, ignore_errors=True)


class LocalArchive:
    """An archive with the suites ``kiln`` and ``kiln-security``, served at *address*.

    Packages that are in the pool of *folder* already are served as they are.

    :param port: any that is free when it is 0.
    """

    def __init__(self, folder: Path, address: str, signer: Signer, port: int = 0) -> None:
        self.folder = folder
        (folder / "pool").mkdir(parents=True, exist_ok=True)
        self._signer = signer
        handler = functools.partial(_Quiet, directory=str(folder))
        self._server = ThreadingHTTPServer((address, port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://{address}:{self.port}"
        for suite in ("kiln", "kiln-security"):
            self.publish(suite, {})

    @property
    def key(self) -> bytes:
        """The public key that signs it."""
        return self._signer.gpg("--export")

    @property
    def port(self) -> int:
        """Where it is served."""
        return int(self._server.server_port)

    @property
    def sources(self) -> str:
        """The one-line sources that name it."""
        suites = ("kiln", "kiln-security")
        return "".join(f"deb [signed-by=/{KEYRING}] {self.url} {suite} main\n" for suite in suites)

    def publish(self, suite: str, packages: Mapping[str, str]) -> None:
        """Have *suite* hold just *packages*, name to version."""
        index = "".join(self._package(name, version) for name, version in packages.items())
        inside = "main/binary-amd64/Packages"
        target = self.folder / "dists" / suite / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(index)
        self.sign(suite)

    def snapshot(self, suite: str, debs: Iterable[Path], valid_until: str) -> None:
        """Have *suite* hold the packages *debs*, with a release that is over at *valid_until*."""
        stanzas = []
        for deb in debs:
            control = subprocess.run(
                ["dpkg-deb", "--field", str(deb)], check=True, capture_output=True, text=True
            ).stdout
            target = self.folder / "pool" / f"{deb.name}.deb"
            target.symlink_to(deb)
            stanzas.append(
                f"{control}Filename: pool/{target.name}\nSize: {deb.stat().st_size}\n"
                f"SHA256: {deb.name}\n\n"
            )
        target = self.folder / "dists" / suite / "main/binary-amd64/Packages"
        target.parent.mkdir(parents=True)
        target.write_text("".join(stanzas))
        self.sign(suite, f"Valid-Until: {valid_until}\n")

    def sign(self, suite: str, more: str = "") -> None:
        """Sign the index of *suite*; its release has the fields *more* too."""
        inside = "main/binary-amd64/Packages"
        index = (self.folder / "dists" / suite / inside).read_bytes()
        release = (
            f"Origin: Test\nSuite: {suite}\nCodename: {suite}\nDate: {formatdate(usegmt=True)}\n"
            f"{more}Architectures: amd64\nComponents: main\nSHA256:\n"
            f" {hashlib.sha256(index).hexdigest()} {len(index)} {inside}\n"
        )
        signed = self._signer.gpg("--clearsign", "--digest-algo", "SHA512", given=release.encode())
        (self.folder / "dists" / suite / "InRelease").write_bytes(signed)

    def close(self) -> None:
        """Stop serving; it is a mirror that has gone."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _package(self, name: str, version: str) -> str:
        path = self.folder / "pool" / f"{name}_{version}_all.deb"
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
            "Maintainer: Nobody <nobody@example.org>\nDescription: a test's package\n"
        )
        if not path.exists():
            with tempfile.TemporaryDirectory() as top:
                root = Path(top, "root")
                (root / "DEBIAN").mkdir(parents=True)
                (root / "DEBIAN" / "control").write_text(control)
                (root / "srv").mkdir()
                (root / "srv" / name).write_text(version)
                for folder in (root, root / "DEBIAN", root / "srv"):
                    folder.chmod(0o755)
                command = ["dpkg-deb", "--root-owner-group", "--build", str(root), str(path)]
                subprocess.run(command, check=True, capture_output=True)
        content = path.read_bytes()
        return (
            f"{control}Filename: pool/{path.name}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n\n"
        )


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name upstream
        """Say nothing: the log would end up between the results of tests."""


def base_archive(home: Path, archive: LocalArchive, target: Path) -> str:
    """Write the root tar of the base in *home* to *target*; return the tar's digest.

    *archive* is its only source of packages.
    """
    (record,) = (home / "cache" / "bases").glob("*.json")
    (layer,) = json.loads(record.read_bytes())["layers"]
    blob = home / "store" / "blobs" / "sha256" / layer["descriptor"]["digest"].partition(":")[2]
    added = {"etc/apt/sources.list": archive.sources.encode(), KEYRING: archive.key}
    with (
        gzip.open(blob) as compressed,
        tarfile.open(fileobj=compressed, mode="r|") as old,
        tarfile.open(target, "w") as new,
    ):
        for member in old:
            if member.name.removeprefix("./") not in added:
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        for name, content in added.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            new.addfile(entry, io.BytesIO(content))
    with target.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
