# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that work on finished images, kept in a container image instead of on the controller.

A toolbox is a Debian root with named packages. mmdebstrap makes it once, from an archive whose
signature it verifies; the engine keeps it under a name that ends in the digest of what it was asked
to hold, so another list of packages is another toolbox, and an old one is never mistaken for it.
"""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.canonical import digest
from ..core.command import Completed, last_lines
from ..core.errors import DriverError
from ..core.files import locked, write_whole
from .base import bootstrap_command
from .bootstrapping import run_bootstrap
from .definition_model import Debootstrap
from .engine import CACHE_LABEL, SESSION_LABEL, Engine
from .home import Home

REPOSITORY = "kiln-toolbox"
SUITE = "trixie"
_FORM = 1
"""Counts up when the making of a toolbox changes what it holds."""

_SLIM = (
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    '--customize-hook=chroot "$1" apt-get clean',
    '--customize-hook=rm -rf "$1"/var/lib/apt/lists "$1"/var/cache/apt',
)


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume or an absolute path of the engine's host, and where a tool finds it."""

    source: str
    target: str
    read_only: bool = True

    @property
    def argument(self) -> str:
        """The value of the engine client's option ``--volume``."""
        return f"{self.source}:{self.target}{':ro' if self.read_only else ''}"


@dataclass(frozen=True, slots=True)
class ToolboxSpec:
    """What a toolbox holds.

    :param name: lower-case letters, digits and dashes.
    :param packages: Debian packages, each ``NAME`` or ``NAME=VERSION``.
    :param mirror: URL of the archive; None leaves the choice to mmdebstrap.
    :param keyring: keys that may sign the archive; None is mmdebstrap's own choice.
    :param newer: those of the packages that come from *newer_suite*, because what *suite* has of
        them is too old. Nothing else comes from there.
    """

    name: str
    packages: tuple[str, ...]
    suite: str = SUITE
    mirror: str | None = None
    keyring: Path | None = None
    newer: tuple[str, ...] = ()
    newer_suite: str = ""

    def digest(self, architecture: str) -> str:
        """Return the digest of all that the toolbox is asked to be: ``sha256:HEX``."""
        keyring = None if self.keyring is None else digest(self.keyring.read_bytes().hex())
        manifest: dict[str, Any] = {
            "form": _FORM,
            "architecture": architecture,
            "suite": self.suite,
            "packages": sorted(self.packages),
            "mirror": self.mirror,
            "keyring": keyring,
            "newer": [self.newer_suite, *sorted(self.newer)],
        }
        return digest(manifest)

    def reference(self, architecture: str) -> str:
        """Return the name of the image that the engine keeps it under."""
        return f"{REPOSITORY}/{self.name}:{self.digest(architecture)[7:19]}"


@dataclass(frozen=True, slots=True)
class Toolbox:
    """A toolbox that the engine holds.

    :param image: its name in the engine.
    :param session: the bake that uses it; what its tools leave when that is killed goes with it.
    """

    engine: Engine
    image: str
    session: str = ""

    def run(
        self,
        argv: Sequence[str],
        *,
        mounts: Iterable[Mount] = (),
        stdin: bytes | Iterable[bytes] | None = None,
        network: str = "none",
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        check: bool = True,
    ) -> Completed:
        """Run a tool to its end in a container of its own; its two outputs are kept in memory.

        :param stdin: what the tool reads, whole or piece by piece.
        :param network: of the engine; a tool reaches nothing unless one is named.
        :param options: further options of the engine's client.
        :param check: raise DriverError, with the end of what it said, when it exits non-zero.
        """
        return self.engine.run_tool(
            self.image,
            argv,
            options=self._options(mounts, network, env, options),
            stdin=stdin,
            check=check,
        )

    def stream(
        self,
        argv: Sequence[str],
        *,
        mounts: Iterable[Mount] = (),
        stdin: Iterable[bytes] | None = None,
        network: str = "none",
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> Iterator[bytes]:
        """Run a tool as run() does and give its output piece by piece.

        When it fails, DriverError comes last: what was given until then is void.
        """
        return self.engine.stream_tool(
            self.image, argv, options=self._options(mounts, network, env, options), stdin=stdin
        )

    def _options(
        self,
        mounts: Iterable[Mount],
        network: str,
        env: Mapping[str, str] | None,
        options: Sequence[str],
    ) -> list[str]:
        given = ["--network", network]
        for mount in mounts:
            given += ["--volume", mount.argument]
        for key, value in (env or {}).items():
            given += ["--env", f"{key}={value}"]
        if self.session:
            given += ["--label", f"{SESSION_LABEL}={self.session}"]
        return [*given, *options]


def ensure_toolbox(
    spec: ToolboxSpec,
    *,
    engine: Engine,
    home: Home,
    session: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> Toolbox:
    """Return the toolbox, made now unless the engine has it; others wait while one makes it.

    :param say: told in one line what takes long.

    Raises DriverError when a package or a version is not to be had, or the archive's signature
    does not verify.
    """
    architecture = engine.architecture()
    reference = spec.reference(architecture)
    with locked(home.locks / reference.replace("/", "-").replace(":", "-")):
        if engine.image(reference) is None:
            say(f"Making the toolbox {spec.name} ({', '.join(spec.packages)})")
            _make(spec, engine, architecture, reference)
        # What its last use was, for the collection of garbage.
        write_whole(use_note(home, reference), b"")
    return Toolbox(engine, reference, session)


def use_note(home: Home, reference: str) -> Path:
    """Return the file whose time says when this home used the toolbox *reference* last."""
    return home.cache / "toolboxes" / reference.partition("/")[2].replace(":", "-")


def spare_toolboxes(engine: Engine, home: Home, *, now: float, days: float) -> list[str]:
    """Return the names of toolboxes that no container uses, and this home not for *days*.

    :param now: seconds since 1970.
    """
    spare = []
    names = engine.references(f"{REPOSITORY}/*:*")
    used = engine.images_in_use() if names else set()
    for name in names:
        found = engine.image(name)
        if found is None or found.id in used:
            continue
        try:
            last = use_note(home, name).stat().st_mtime
        except FileNotFoundError:
            # Another home with the same engine may have made it: its own age is what is known.
            last = engine.created(name)
        if now - last >= days * 86400:
            spare.append(name)
    return spare


def newer_options(spec: ToolboxSpec) -> list[str]:
    """Return mmdebstrap's options for the packages of *spec* that come from its newer suite."""
    if not spec.newer:
        return []
    preferences = (
        f"Package: *\nPin: release n={spec.newer_suite}\nPin-Priority: -1\n\n"
        f"Package: {' '.join(spec.newer)}\nPin: release n={spec.newer_suite}\nPin-Priority: 990\n"
    )
    # Debian's testing is signed for a week at a time, and mirrors that stand still are in use: the
    # signature is verified, its week is not. Who replays an old state can give old content only.
    line = (
        rf"s/^deb \(\[\(.*\)\] \)\?\([^ ]*\) {spec.suite} "
        rf"/deb [check-valid-until=no \2] \3 {spec.newer_suite} /p"
    )
    source, pins = '"$1"/etc/apt/sources.list.d/newer.list', '"$1"/etc/apt/preferences.d/newer'
    return [
        # The same mirror, whichever it is: mmdebstrap has written its line by then.
        f'--setup-hook=sed -n {shlex.quote(line)} "$1"/etc/apt/sources.list > {source}',
        f"--setup-hook=printf %s {shlex.quote(preferences)} > {pins}",
    ]


def _make(spec: ToolboxSpec, engine: Engine, architecture: str, reference: str) -> None:
    base = Debootstrap(
        spec.suite,
        mirror=spec.mirror,
        variant="apt",
        include=tuple(sorted(spec.packages)),
        keyring=spec.keyring,
    )
    with (
        tempfile.TemporaryDirectory(prefix="kiln-toolbox-") as folder,
        tempfile.TemporaryFile() as tar,
        tempfile.TemporaryFile() as log,
    ):
        options = [*newer_options(spec), *_SLIM]
        argv = bootstrap_command(base, architecture, Path(folder) / "releases", options)
        try:
            status = run_bootstrap(argv, tar, log)
        except FileNotFoundError as error:
            raise DriverError(
                f"mmdebstrap is not installed, and the toolbox {spec.name} is to be made.",
                hint="On Debian: apt-get install mmdebstrap.",
            ) from error
        log.seek(0)
        if status != 0:
            said = last_lines(Completed(status, b"", log.read()), 6)
            raise DriverError(
                f"The toolbox {spec.name} could not be made: {said}",
                hint="Check the mirror, the network and the versions that its packages are pinned"
                " to; the archive's signature must verify.",
            )
        # Only now, and whole: an engine that reads from a dying program would keep what it got.
        tar.seek(0)
        engine.import_root(
            tar, reference, {CACHE_LABEL: "toolbox", f"{CACHE_LABEL}.made": str(int(time.time()))}
        )
