# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The package pool: ``.deb`` files by their SHA-256, so that an old lock can be baked again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..core.errors import DriverError
from ..core.files import LockBusy, locked, whole_file
from .lock import Package

DEFAULT_LIMIT = 10 << 30
"""Bytes that a pool holds before it gives packages up."""

_CHUNK = 1 << 20
_TIMEOUT = 60.0
_AT_ONCE = 4
_HEX = re.compile(r"[0-9a-f]{64}")
_SIZE = re.compile(r"([0-9]+)\s*([KMGT]i?)?B?", re.IGNORECASE)
_STALE = 24 * 3600.0


def read_limit(text: object) -> int:
    """Return the bytes that ``kiln_pool_limit`` says: a number, or one with KiB, MiB or GiB."""
    found = _SIZE.fullmatch(str(text).strip())
    if found is None:
        raise DriverError(
            f"kiln_pool_limit is {text}, which is no size.",
            hint="Write it such as 10GiB or 500MiB.",
        )
    unit = (found.group(2) or "").lower()
    decimal = 1000 if unit and not unit.endswith("i") else 1024
    power = "kmgt".index(unit[0]) + 1 if unit else 0
    return int(found.group(1)) * int(decimal**power)


@dataclass(frozen=True, slots=True)
class Held:
    """A package in the pool: its hash, its bytes, and when it was last used (seconds)."""

    sha256: str
    size: int
    used: float


def leaving(held: Iterable[Held], *, needed: Collection[str], limit: int) -> tuple[Held, ...]:
    """Return what must leave so that the rest is within *limit*: the oldest unused first.

    :param needed: hashes that stay, even when they alone are more than the limit.
    """
    found = sorted(held, key=lambda one: (one.used, one.sha256))
    excess = sum(one.size for one in found) - limit
    gone = []
    for one in found:
        if excess <= 0:
            break
        if one.sha256 not in needed:
            gone.append(one)
            excess -= one.size
    return tuple(gone)


@dataclass(frozen=True, slots=True)
class Pool:
    """The pool in a folder: ``sha256/HEX``.

    :param guard: a lock file, held shared while packages are used and alone while some leave.
    """

    root: Path
    guard: Path

    def path(self, sha256: str) -> Path:
        """Return where the package with that hash is, if it is there."""
        return self.root / "sha256" / sha256

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep packages from leaving for the block."""
        with locked(self.guard, shared=True):
            yield

    def has(self, sha256: str) -> bool:
        """Tell whether the pool has a package; its bytes are verified when they are used."""
        return self.path(sha256).exists()

    def add(self, stream: IO[bytes], sha256: str = "") -> str | None:
        """Take what *stream* gives in and return its hash.

        :param sha256: what the hash must be; None is returned and nothing kept when it is another.
        """
        folder = self.root / "sha256"
        folder.mkdir(parents=True, exist_ok=True)
        found = hashlib.sha256()
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".partial") as partial:
            while chunk := stream.read(_CHUNK):
                found.update(chunk)
                partial.write(chunk)
            name = found.hexdigest()
            if sha256 and name != sha256:
                return None
            partial.flush()
            os.fchmod(partial.fileno(), 0o644)
            os.fsync(partial.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(partial.name, self.path(name))
        return name

    def add_tar(self, archive: IO[bytes], suffix: str = "") -> list[str]:
        """Take the files of an uncompressed tar in, which is read once; return their hashes.

        :param suffix: of the names of those to take.
        """
        added = []
        with tarfile.open(fileobj=archive, mode="r|") as members:
            for member in members:
                wanted = member.isfile() and member.name.endswith(suffix)
                content = members.extractfile(member) if wanted else None
                if content is not None and (name := self.add(content)) is not None:
                    added.append(name)
        return added

    def ensure(self, packages: Sequence[Package], mirror: str | None) -> None:
        """Have every one of *packages* here, whole: what is not is fetched from its URL.

        Raises one DriverError that names each package which cannot be had.

        :param mirror: of the definition, tried after the URL: it may be an archive of snapshots.
        """
        wanted = {package.sha256: package for package in packages if package.sha256}
        with ThreadPoolExecutor(_AT_ONCE) as workers:
            problems = [
                problem
                for problem in workers.map(lambda one: self._ensure(one, mirror), wanted.values())
                if problem
            ]
        if problems:
            raise DriverError(
                "\n".join(problems),
                hint="Bring the mirror back, name one that has them, such as a snapshot archive,"
                " or refresh the lock.",
            )

    def _ensure(self, package: Package, mirror: str | None) -> str:
        path = self.path(package.sha256)
        damaged = ""
        try:
            with path.open("rb") as stream:
                whole = hashlib.file_digest(stream, "sha256").hexdigest() == package.sha256
            if whole:
                os.utime(path)
                return ""
            damaged = " The pool's copy was damaged and is gone."
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        tried = []
        for url in _places(package, mirror):
            try:
                with _open(url) as stream:
                    if self.add(stream, package.sha256) is not None:
                        return ""
                tried.append(f"{url} has other bytes than the lock says")
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", None) or error
                tried.append(f"{url}: {reason}")
        where = "; ".join(tried) or "the lock names no place to fetch it from"
        return f"The package {package.installed} is not in the pool ({where}).{damaged}"

    def held(self) -> list[Held]:
        """Return what the pool holds."""
        folder = self.root / "sha256"
        found = []
        for entry in os.scandir(folder) if folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat()
                if _HEX.fullmatch(entry.name):
                    found.append(Held(entry.name, status.st_size, status.st_mtime))
        return found

    def shrink(
        self, needed: Callable[[], Collection[str]], limit: int, *, now: float | None = None
    ) -> tuple[Held, ...]:
        """Let packages leave until the pool is within *limit* bytes; return those that left.

        While others use the pool nothing leaves: the next bake tries again.

        :param needed: asked for the hashes that must stay, only when something has to leave.
        """
        if sum(one.size for one in self.held()) <= limit:
            return ()
        with contextlib.suppress(LockBusy), locked(self.guard, wait=False):
            self._sweep(time.time() if now is None else now)
            gone = leaving(self.held(), needed=needed(), limit=limit)
            for one in gone:
                self.path(one.sha256).unlink(missing_ok=True)
            return gone
        return ()

    def _sweep(self, now: float) -> None:
        """Take away what killed bakes left half written."""
        for entry in (self.root / "sha256").iterdir():
            if not _HEX.fullmatch(entry.name) and now - entry.stat().st_mtime > _STALE:
                entry.unlink(missing_ok=True)

    # Locks of versions: what must stay.

    def keep_lock(self, image: str, number: str, lock: Path) -> None:
        """Keep a copy of the lock that a version was baked with."""
        target = self.root / "locks" / image / f"{number}.yml"
        with whole_file(target) as copy, lock.open("rb") as original:
            shutil.copyfileobj(original, copy)

    def needed(self, versions: Callable[[str], Collection[str]]) -> set[str]:
        """Return the hashes that locks of catalogued versions name.

        :param versions: gives the version numbers that the catalog has of an image; the copy of a
            lock whose version the catalog has not is of no use, and goes.
        """
        found: set[str] = set()
        for folder in (self.root / "locks").glob("*"):
            numbers = versions(folder.name)
            for copy in folder.glob("*.yml"):
                if copy.stem in numbers:
                    found.update(re.findall(r"[0-9a-f]{64}", copy.read_text("utf-8")))
                else:
                    copy.unlink(missing_ok=True)
        return found


def _places(package: Package, mirror: str | None) -> list[str]:
    """Where a package may be: the URL in the lock, and the same path below the mirror."""
    places = [package.url] if package.url else []
    _before, found, path = package.url.partition("/pool/")
    if mirror and found:
        below = f"{mirror.rstrip('/')}/pool/{path}"
        places += [below] if below != package.url else []
    return places


def _open(url: str) -> IO[bytes]:
    scheme, _colon, rest = url.partition(":")
    if scheme in ("file", "copy"):
        return Path("/" + rest.lstrip("/")).open("rb")
    if scheme not in ("http", "https"):
        raise ValueError(f"{scheme} is no way to fetch a package")
    # It takes long to load, which a bake that has nothing to do need not wait for.
    from ansible.module_utils.urls import open_url

    opened: IO[bytes] = open_url(url, timeout=_TIMEOUT)
    return opened
