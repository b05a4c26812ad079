# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a bake's packages come from: the archive, what a lock names, or both for a new lock."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import shlex
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.canonical import encode
from ..core.errors import DriverError
from ..core.files import write_whole
from . import package_origins
from .definition_model import Debootstrap
from .engine import Engine
from .home import Home
from .lock import Installed, Lock, Package, differences
from .package_archive import KEY, Signer, make_repository, source_lines
from .pool import Pool
from .toolkit import INTERPRETER, PACKAGES, Pinned, made_of

DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

APT_LINK = "/run/kiln/locked"
"""Where the locked packages are in a build container: the same place in all."""

APT_CONF = f"""\
// What a lock names and nothing else can be installed, whatever sources the image has.
Dir::Etc::sourcelist "{APT_LINK}/sources.list";
Dir::Etc::sourceparts "{APT_LINK}/sources.list.d";
"""

_UNPACK = 'mkdir "$1" && ln -s "$1" "$2" && tar -xf - -C "$1"'
_ADD = '[ -z "$1" ] || [ -e "$1" ] || exit 0; printf "%s\\n" "$2" >> "$3"'

_LOGS = ("/run/kiln/log/dpkg.log", "/var/log/dpkg.log")


@dataclass(frozen=True, slots=True)
class Supply:
    """What a base is bootstrapped from, when that is not just the definition's mirror.

    :param lock: None when the archive is asked, to make a lock.
    :param gathers: file that takes what was installed, with hashes, when a lock is to be made.
    """

    pool: Pool
    signer: Signer
    lock: Lock | None
    gathers: Path | None

    def options(self, base: Debootstrap, folder: Path) -> tuple[list[str], list[str]]:
        """Return further options of mmdebstrap and, unless empty, its sources.

        :param folder: a temporary one, for what mmdebstrap reads and leaves.
        """
        options: list[str] = []
        sources: list[str] = []
        if self.lock is not None:
            with self.pool.in_use():
                self.pool.ensure(self.lock.base.packages, base.mirror)
                suites = make_repository(
                    folder / "repository",
                    self.lock.base.packages,
                    find=self.pool.path,
                    architecture=self.lock.architecture,
                    epoch=self.lock.base.epoch,
                    signer=self.signer,
                    suite=base.suite,
                    place=shutil.copyfile,
                )
            _make_readable(folder)
            place = folder / "repository"
            sources += source_lines(
                f"copy://{place}", str(place / KEY), suites, self.lock.architecture
            )
            (folder / "sources.list").write_text(self.lock.base.sources, "utf-8")
        if self.gathers is not None:
            sources += self.lock.security if self.lock is not None else ()
            keyring = base.keyring or DEBIAN_KEYRING
            if self.lock is not None and base.keyring is None and keyring.exists():
                options.append(f"--keyring={keyring}")
            options += [
                "--skip=essential/unlink",
                '--aptopt=APT::Keep-Downloaded-Packages "true"',
                f"--customize-hook={_INDEXES}",
                *_out("/var/cache/apt/archives", folder / "archives.tar", "tar-out"),
                *_out("/kiln-indexes", folder / "indexes.tar", "tar-out"),
                '--customize-hook=rm -r "$1"/kiln-indexes',
                *_out("/etc/apt/sources.list", folder / "sources.found"),
            ]
        options += _out("/var/lib/dpkg/status", folder / "status")
        if self.lock is not None:
            own = shlex.quote(str(folder / "sources.list"))
            options.append(f"--customize-hook=upload {own} /etc/apt/sources.list")
        return options, sources

    def finish(self, base: Debootstrap, folder: Path) -> None:
        """Check what was installed against the lock, or keep what a new lock needs of it."""
        status = (folder / "status").read_text("utf-8", "replace")
        found = package_origins.from_status(status)
        if self.gathers is None:
            if self.lock is not None:
                check("the base", self.lock.base.packages, [Installed(*one) for one in found])
            return
        packages = known_packages(_known(found, folder / "indexes.tar"), self.lock)
        if self.lock is None:
            sources = (folder / "sources.found").read_text("utf-8")
        else:
            sources = self.lock.base.sources
        with self.pool.in_use():
            with (folder / "archives.tar").open("rb") as archives:
                self.pool.add_tar(archives, suffix=".deb")
            self.pool.ensure(packages, base.mirror)
        write_whole(
            self.gathers,
            encode({"packages": [p.as_json() for p in packages], "sources": sources}),
        )


# Hooks of mmdebstrap may be run by another user than the one who bakes, who cannot write here, nor
# read what is private to that one. So what they find goes out by way of mmdebstrap.
_INDEXES = f"""\
mkdir "$1"/kiln-indexes && export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG &&
apt-get indextargets --format {shlex.quote(package_origins.FORMAT)} 'Created-By: Packages' \
> "$1"/kiln-indexes/targets && n=0 && while IFS='|' read -r file rest; do
/usr/lib/apt/apt-helper cat-file "$file" > "$1"/kiln-indexes/$n; n=$((n + 1));
done < "$1"/kiln-indexes/targets"""


def _out(inside: str, outside: Path, how: str = "download") -> list[str]:
    return [f"--customize-hook={how} {inside} {shlex.quote(str(outside))}"]


def _known(found: Sequence[tuple[str, str, str]], indexes: Path) -> list[dict[str, Any]]:
    """Return the packages *found* with what the indexes of a bootstrap say of them."""
    with tarfile.open(indexes) as archive:
        files = {
            member.name.rpartition("/")[2]: stream.read().decode("utf-8", "replace")
            for member in archive
            if (stream := archive.extractfile(member)) is not None
        }
    targets = package_origins.parts_of(files["targets"])
    texts = {target[0]: files[str(number)] for number, target in enumerate(targets)}
    return package_origins.described(found, targets, texts.__getitem__)


def _make_readable(folder: Path) -> None:
    """Let whoever mmdebstrap fetches as read *folder*, whatever the umask was."""
    folder.chmod(0o755)
    for top, _folders, files in os.walk(folder / "repository"):
        Path(top).chmod(0o755)
        for name in files:
            Path(top, name).chmod(0o644)


def check(where: str, wanted: Iterable[Package], found: Iterable[Installed]) -> None:
    """Raise DriverError, naming each package, unless *found* is what the lock *wanted*."""
    sentences = differences(where, wanted, found)
    if sentences:
        raise DriverError(
            "\n".join(sentences),
            hint="Refresh the lock (kiln.immutable.refresh) when that is what you want.",
        )


def known_packages(found: Iterable[Mapping[str, Any]], old: Lock | None) -> tuple[Package, ...]:
    """Return packages as a lock holds them: as *old* has them, where it has the same file."""
    before = {p.sha256: p for p in (old.packages if old is not None else ()) if p.sha256}
    packages = [Package.from_json(value) for value in found]
    return tuple(before.get(package.sha256, package) for package in packages)


def bring_repository(
    engine: Engine,
    container: str,
    lock: Lock,
    *,
    pool: Pool,
    home: Home,
    mirror: str | None,
    security: bool,
) -> None:
    """Put the packages of the layers into the build container, as its only source of packages.

    :param security: the security archives are sources too, those whose key the image has.
    """
    folder = f"/run/kiln/apt/{container}/locked"
    packages = lock.packages if security else lock.layer_packages
    with _repository(lock, packages, pool=pool, home=home, mirror=mirror) as repository:
        engine.feed(
            container,
            ["/bin/sh", "-c", _UNPACK, "sh", folder, APT_LINK],
            _tar(repository),
        )
    for line in lock.security if security else ():
        key = line.partition("signed-by=")[2].partition("]")[0]
        engine.execute(
            container,
            ["/bin/sh", "-c", _ADD, "sh", key, line, f"{APT_LINK}/sources.list"],
        )


def pinned_toolkit(lock: Lock, *, pool: Pool, home: Home, mirror: str | None) -> Pinned | None:
    """Return what the toolkit is to be made of, None when *lock* does not say."""

    def archive() -> bytes:
        with _repository(lock, lock.toolkit, pool=pool, home=home, mirror=mirror) as repository:
            return b"".join(_tar(repository))

    if not lock.toolkit:
        return None
    return Pinned(made_of(one.as_json() for one in lock.toolkit), APT_LINK, archive)


@contextlib.contextmanager
def _repository(
    lock: Lock, packages: Sequence[Package], *, pool: Pool, home: Home, mirror: str | None
) -> Iterator[Path]:
    """Give a repository of *packages* for a container, and apt's sources that name it there."""
    with tempfile.TemporaryDirectory(prefix="kiln-packages-") as temporary, pool.in_use():
        pool.ensure(packages, mirror)
        repository = Path(temporary) / "repository"
        suites = make_repository(
            repository,
            packages,
            find=pool.path,
            architecture=lock.architecture,
            epoch=lock.base.epoch,
            signer=Signer(home),
        )
        lines = source_lines(f"file:{APT_LINK}", f"{APT_LINK}/{KEY}", suites, lock.architecture)
        (repository / "sources.list").write_text("".join(f"{line}\n" for line in lines), "utf-8")
        (repository / "sources.list.d").mkdir()
        yield repository


def _tar(folder: Path) -> Iterator[bytes]:
    """Give a folder as a tar; symbolic links as what they lead to."""
    with tempfile.TemporaryFile() as spool:
        with tarfile.open(fileobj=spool, mode="w", dereference=True) as archive:
            archive.add(folder, ".", filter=_readable)
        spool.seek(0)
        while chunk := spool.read(1 << 20):
            yield chunk


def _readable(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member


def _program() -> str:
    """The source of package_origins, for ``python3 -I -c SOURCE``."""
    return inspect.getsource(package_origins)


def forget_unpacked(engine: Engine, container: str) -> None:
    """Take away what the image's own dpkg log says: it is not of this bake."""
    engine.execute(container, ["rm", "-f", *_LOGS])


def security_sources(engine: Engine, container: str) -> tuple[str, ...]:
    """Return the security archives that the image's package sources name."""
    return tuple(_ask(engine, container, "sources")["security"])


def unpacked(engine: Engine, container: str) -> list[dict[str, Any]]:
    """Return the packages that were unpacked since this was asked last, with their origins.

    Raises DriverError when a role added package sources where only a lock's are.
    """
    listing = engine.execute(
        container, ["find", f"{APT_LINK}/sources.list.d/", "-type", "f"], check=False
    )
    if listing.status == 0 and listing.text:
        raise DriverError(
            f"A role added the package source {listing.text.rpartition('/')[2]} by way of apt's"
            " settings, which with a lock is not /etc/apt.",
            hint="Write it with ansible.builtin.deb822_repository or copy, or delete the lock.",
        )
    packages: list[dict[str, Any]] = _ask(engine, container, "log", *_LOGS)["packages"]
    return packages


def _ask(engine: Engine, container: str, *command: str) -> dict[str, Any]:
    argv = [INTERPRETER, "-I", "-c", _program(), *command]
    answer: dict[str, Any] = json.loads(engine.execute(container, argv).stdout)
    return answer


def toolkit_packages(engine: Engine, container: str) -> tuple[Package, ...]:
    """Return what the toolkit in a build container was made of."""
    found = json.loads(engine.execute(container, ["cat", f"{PACKAGES}.json"]).stdout)
    return known_packages([{**one, "priority": ""} for one in found], None)


def take_archives(
    engine: Engine,
    container: str,
    packages: Iterable[Package],
    *,
    pool: Pool,
    mirror: str | None,
    folder: str = "",
) -> None:
    """Have the pool hold *packages*, from the build container where it still has them.

    :param folder: where it has them, by default where apt keeps what it downloads.
    """
    with pool.in_use():
        wanted = [one for one in packages if one.sha256]
        missing = sorted({one.file_name for one in wanted if not pool.has(one.sha256)})
        if missing:
            folder = folder or f"/run/kiln/apt/{container}/archives"
            script = 'cd "$1"; shift; for f; do [ -f "$f" ] && echo "$f"; done | tar -cf - -T -'
            chunks = engine.stream(container, ["/bin/sh", "-c", script, "sh", folder, *missing])
            with tempfile.TemporaryFile() as spool:
                for chunk in chunks:
                    spool.write(chunk)
                if spool.tell() > 0:
                    spool.seek(0)
                    pool.add_tar(spool)
        pool.ensure(wanted, mirror)
