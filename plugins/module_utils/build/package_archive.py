# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small signed APT repository of exactly the packages that a lock names.

Follows Debian's repository format, as apt-secure(8) verifies it, and deb(5).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import lzma
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from email.utils import formatdate
from pathlib import Path

from ..core.command import Runner, run
from ..core.errors import DriverError
from ..core.files import locked, write_whole
from .home import Home
from .lock import Package

KEY = "archive.gpg"
"""The name of the public key's file at the top of a repository."""

_OWNER = "kiln package pool"
_COMPONENT = "main"


class Signer:
    """Signs repositories with the key of a home, which is made when it is first needed."""

    def __init__(self, home: Home, runner: Runner = run) -> None:
        self._folder = home.root / "keys"
        self._lock = home.locks / "package-key"
        self._run = runner

    @property
    def public(self) -> Path:
        """The public key, in OpenPGP's binary form."""
        return self._folder / "packages.gpg"

    @contextlib.contextmanager
    def ready(self) -> Iterator[Callable[[str], bytes]]:
        """Give a function that returns a text with its signature (InRelease)."""
        # A short path: the agent's socket must fit into 108 bytes.
        folder = tempfile.mkdtemp(prefix="kiln-gpg-")
        gpg = ["gpg", "--homedir", folder, "--batch", "--quiet", "--no-tty"]
        try:
            with locked(self._lock):
                self._load(gpg)

            def sign(text: str) -> bytes:
                argv = [*gpg, "--pinentry-mode", "loopback", "--passphrase", ""]
                argv += ["--digest-algo", "SHA512", "--clearsign"]
                return self._run(argv, stdin=text.encode()).stdout

            yield sign
        finally:
            # The agent would stay, and remember a key whose folder is gone.
            self._run(["gpgconf", "--homedir", folder, "--kill", "gpg-agent"], check=False)
            shutil.rmtree(folder, ignore_errors=True)

    def _load(self, gpg: Sequence[str]) -> None:
        secret = self._folder / "packages.key"
        options = [*gpg, "--pinentry-mode", "loopback", "--passphrase", ""]
        if secret.exists() and self.public.exists():
            self._run([*options, "--import", str(secret)])
            return
        self._run([*options, "--quick-generate-key", _OWNER, "ed25519", "sign", "never"])
        self._folder.mkdir(mode=0o700, exist_ok=True)
        exported = self._run([*options, "--export-secret-keys", _OWNER]).stdout
        public = self._run([*gpg, "--export", _OWNER]).stdout
        write_whole(self.public, public)
        write_whole(secret, exported, mode=0o600)


def make_repository(
    folder: Path,
    packages: Iterable[Package],
    *,
    find: Callable[[str], Path],
    architecture: str,
    epoch: int,
    signer: Signer,
    suite: str | None = None,
    place: Callable[[Path, Path], object] = os.symlink,
) -> tuple[str, ...]:
    """Make a repository in *folder* and return its suites.

    :param find: gives the file of a package by its hash.
    :param epoch: the date of its releases, seconds since 1970.
    :param suite: the one suite that has all; by default each package stays in the suite it is from.
    :param place: how a package gets from the pool to the repository, by default a symbolic link.
    """
    suites: dict[str, list[str]] = {} if suite is None else {suite: []}
    (folder / "pool").mkdir(parents=True)
    done: set[tuple[str, str]] = set()
    for package in packages:
        where = suite or package.suite or "local"
        if not package.sha256 or (package.sha256, where) in done:
            continue
        done.add((package.sha256, where))
        source = find(package.sha256)
        target = folder / "pool" / package.file_name
        if not target.is_symlink() and not target.exists():
            place(source, target)
        suites.setdefault(where, []).append(_entry(package, source))
    with signer.ready() as sign:
        # The key may have been made just now.
        shutil.copyfile(signer.public, folder / KEY)
        for name, entries in suites.items():
            index = "\n".join(entries).encode()
            inside = f"{_COMPONENT}/binary-{architecture}/Packages"
            target = folder / "dists" / name / inside
            target.parent.mkdir(parents=True)
            target.write_bytes(index)
            release = _release(name, architecture, epoch, {inside: index})
            (folder / "dists" / name / "InRelease").write_bytes(sign(release))
    return tuple(suites)


def source_lines(uri: str, key: str, suites: Iterable[str], architecture: str) -> tuple[str, ...]:
    """Return the one-line sources of the repository at *uri*; *key* is its key's path."""
    return tuple(
        f"deb [arch={architecture} signed-by={key}] {uri} {suite} {_COMPONENT}" for suite in suites
    )


def _entry(package: Package, source: Path) -> str:
    """Return the package's paragraph in the index of packages."""
    control = read_control(source)
    found = {
        name: value.strip()
        for name, value in re.findall(r"(?m)^(Package|Version|Architecture):(.*)$", control)
    }
    one = package.installed
    if (found.get("Package"), found.get("Version"), found.get("Architecture")) != (
        one.name,
        one.version,
        one.architecture,
    ):
        raise DriverError(
            f"The lock says that {package.sha256} is {one}, but it is"
            f" {found.get('Package')} {found.get('Version')}.",
            hint="The lock was changed by hand; refresh it.",
        )
    if package.priority:
        # The archive's word goes before the package's own: the base is chosen by it.
        control = re.sub(r"(?m)^Priority:.*\n", "", control) + f"Priority: {package.priority}\n"
    return (
        f"{control}Filename: pool/{package.file_name}\n"
        f"Size: {source.stat().st_size}\nSHA256: {package.sha256}\n"
    )


def _release(suite: str, architecture: str, epoch: int, files: dict[str, bytes]) -> str:
    lines = [
        "Origin: kiln",
        "Label: kiln",
        f"Suite: {suite}",
        f"Codename: {suite}",
        f"Date: {formatdate(epoch, usegmt=True).replace('GMT', 'UTC')}",
        f"Architectures: {architecture}",
        f"Components: {_COMPONENT}",
        "SHA256:",
        *(f" {hashlib.sha256(c).hexdigest()} {len(c)} {name}" for name, c in files.items()),
    ]
    return "\n".join(lines) + "\n"


def read_control(path: Path) -> str:
    """Return the control file of the ``.deb`` at *path*; it ends with a newline."""
    for name, content in _members(path):
        if not name.startswith("control.tar"):
            continue
        match name.removeprefix("control.tar"):
            case ".xz":
                unpacked = lzma.decompress(content)
            case ".gz":
                unpacked = gzip.decompress(content)
            case ".zst":
                # Not in Python's library before 3.14.
                return run(["dpkg-deb", "--field", str(path)]).stdout.decode("utf-8")
            case _:
                unpacked = content
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
            for member in archive:
                if member.name.removeprefix("./") == "control":
                    control = archive.extractfile(member)
                    text = "" if control is None else control.read().decode("utf-8")
                    return text.strip("\n") + "\n"
    raise DriverError(f"{path} is no Debian package.")


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Give the members of an ar archive before its data, which is most of it."""
    with path.open("rb") as stream:
        if stream.read(8) != b"!<arch>\n":
            return
        while len(header := stream.read(60)) == 60:
            name = header[:16].decode("ascii", "replace").rstrip().rstrip("/")
            size = int(header[48:58])
            if name.startswith("data.tar"):
                return
            yield name, stream.read(size)
            stream.seek(size % 2, os.SEEK_CUR)
