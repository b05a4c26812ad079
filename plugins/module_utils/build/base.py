# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root filesystem that a bake starts from, made once and kept as layers in the store."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.canonical import digest
from ..core.command import Completed, last_lines
from ..core.errors import DriverError
from ..core.files import locked
from ..oci.layer import Layer, store_layer
from ..oci.layout import Layout
from ..oci.normalise import normalise_tar
from .base_import import import_archive, import_registry
from .bootstrapping import run_bootstrap
from .definition_model import Archive, Debootstrap, Registry
from .engine import Engine
from .home import Home
from .records import BaseRecord, Cache
from .residue import UNSEEN, Matcher

if TYPE_CHECKING:
    from .supply import Supply

NORMAL_FORM = 2
"""Counts up when normalise_tar or the lists of left-out files change what a base holds."""

EMPTIED = frozenset({"etc/machine-id"})
"""Files that a running system fills with what is its own; in a base they are there, but empty."""

HOST_FILES = frozenset({"etc/hostname", "etc/resolv.conf", "etc/hosts"})
"""What a bootstrap copies from the machine it runs on; the engine gives each container its own."""


DEBCONF_CACHE = frozenset({"var/cache/debconf/config.dat", "var/cache/debconf/templates.dat"})
"""What debconf keeps of questions that a bootstrap answers by their defaults.

It makes both anew for the packages that are installed later. Kept, each layer that installs
anything would carry nearly a megabyte of them again.
"""

_unseen = Matcher.of(UNSEEN)


def source_date_epoch(environment: Mapping[str, str] | None = None) -> int | None:
    """Return ``SOURCE_DATE_EPOCH`` in seconds, None when it is not set.

    :param environment: where to look, by default the environment of this process.

    Follows https://reproducible-builds.org/specs/source-date-epoch/; DriverError if malformed.
    """
    text = (os.environ if environment is None else environment).get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise DriverError(
            f"SOURCE_DATE_EPOCH is {text!r}, which is no number of seconds since 1970.",
            hint="Set it to digits alone, or take it out of the environment.",
        )
    return int(text)


def _dated(epoch: int) -> int:
    """What an image is dated by: SOURCE_DATE_EPOCH before the *epoch* of what it is made from."""
    wanted = source_date_epoch()
    return epoch if wanted is None else wanted


def base_key(
    base: Debootstrap | Registry | Archive, architecture: str, lock: str | None = None
) -> str:
    """Return the digest of all that the making of *base* depends on, the mirror's state apart.

    :param lock: what a lock gives to the key; with one, the mirror's state has no part in it.
    """
    manifest = _base_manifest(base, architecture)
    # Other kinds of base pin themselves, whatever a lock says.
    if lock is not None and isinstance(base, Debootstrap):
        manifest["lock"] = lock
    return digest(manifest)


def _base_manifest(base: Debootstrap | Registry | Archive, architecture: str) -> dict[str, Any]:
    common = {
        "normal_form": NORMAL_FORM,
        "epoch": source_date_epoch(),
        "architecture": architecture,
    }
    match base:
        case Debootstrap():
            keyring = base.keyring
            # Left out where it is the default, so that it does not change older keys.
            expired = {} if base.expired == "refuse" else {"expired": base.expired}
            return {
                **expired,
                "kind": "debootstrap",
                "suite": base.suite,
                "mirror": base.mirror,
                "components": list(base.components),
                "variant": base.variant,
                "include": sorted(base.include),
                "keyring": None if keyring is None else _content_digest(keyring),
                **common,
            }
        case Registry():
            return {"kind": "registry", "digest": base.digest, **common}
        case Archive():
            return {"kind": "archive", "digest": base.digest, **common}


def _content_digest(keyring: Path) -> str:
    try:
        return digest(keyring.read_bytes().hex())
    except OSError as error:
        raise DriverError(
            f"The keyring {keyring} cannot be read: {error.strerror}.",
            hint="Correct base.debootstrap.keyring.",
        ) from error


def ensure_base(
    base: Debootstrap | Registry | Archive,
    *,
    home: Home,
    cache: Cache,
    engine: Engine,
    architecture: str,
    refresh: bool,
    say: Callable[[str], None],
    lock: str | None = None,
    supply: Supply | None = None,
) -> BaseRecord:
    """Return the base, from the cache or made now; one process makes it, others wait for it.

    :param refresh: make it again although the cache has it, for what the mirror has newer;
        other kinds than a bootstrap are pinned by their digest and have nothing newer.
    :param lock: as base_key takes it.
    :param supply: where a bootstrap's packages come from, when not just from the mirror.
    :param say: told in one line what takes long.
    """
    key = base_key(base, architecture, lock)
    asked = time.time()
    refresh = refresh and isinstance(base, Debootstrap)
    with locked(home.locks / f"base-{key.removeprefix('sha256:')[:16]}"):
        record = cache.base(key)
        if record is not None and not (refresh and _older(cache, key, asked)):
            return record
        started = time.monotonic()
        cache.layout.ensure()
        match base:
            case Debootstrap():
                say(f"Bootstrapping {base.suite} ({base.variant}) with mmdebstrap")
                layers, epoch, suite = _bootstrap(base, cache.layout, architecture, supply)
            case Registry():
                say(f"Pulling {base.image}")
                layers, epoch, suite = import_registry(base, cache.layout, engine)
            case Archive():
                say(f"Importing {base.path}")
                layers, epoch, suite = import_archive(
                    base,
                    cache.layout,
                    epoch=source_date_epoch(),
                    drop=_left_out,
                    empty=EMPTIED,
                )
        seconds = round(time.monotonic() - started, 1)
        record = BaseRecord(key, layers, _dated(epoch), suite, architecture, seconds)
        cache.keep_base(record)
        return record


def _older(cache: Cache, key: str, asked: float) -> bool:
    """Whether the base was made before *asked*: of several bakes that wait, one refreshes it."""
    try:
        return cache.record_path("bases", key).stat().st_mtime < asked
    except FileNotFoundError:
        return True


def _left_out(name: str) -> bool:
    # The engine mounts its own /dev; the nodes that a bootstrap as root makes are of no use.
    return (
        name in HOST_FILES | DEBCONF_CACHE or name.startswith("dev/") or _unseen(name) is not None
    )


def _bootstrap(
    base: Debootstrap, layout: Layout, architecture: str, supply: Supply | None
) -> tuple[tuple[Layer, ...], int, str]:
    with tempfile.TemporaryDirectory(prefix="kiln-base-") as folder:
        releases = Path(folder) / "releases"
        options: list[str] = []
        sources: list[str] = []
        if supply is not None:
            options, sources = supply.options(base, Path(folder))
        argv = bootstrap_command(base, architecture, releases, options, sources)
        try:
            with tempfile.TemporaryFile() as spool, tempfile.TemporaryFile() as log:
                status = run_bootstrap(argv, spool, log)
                if status != 0:
                    log.seek(0)
                    said = last_lines(Completed(status, b"", log.read()), 6)
                    raise DriverError(
                        f"mmdebstrap could not bootstrap {base.suite}: {said}",
                        hint="Check mirror and network; the archive's signature must verify."
                        if supply is None or supply.lock is None
                        else "It could install only what the lock names. Refresh the lock"
                        " (kiln.immutable.refresh) when the base was changed.",
                    )
                if supply is not None:
                    supply.finish(base, Path(folder))
                epoch = release_epoch(releases.read_text("utf-8", "replace"))
                spool.seek(0)
                chunks = normalise_tar(spool, epoch=_dated(epoch), drop=_left_out, empty=EMPTIED)
                layer = store_layer(layout, chunks)
        except FileNotFoundError as error:
            if error.filename != argv[0]:
                raise
            raise DriverError(
                "mmdebstrap is not installed, and the base is to be bootstrapped.",
                hint="On Debian: apt-get install mmdebstrap; elsewhere use a base of kind"
                " registry or archive.",
            ) from error
    if layer is None:
        raise DriverError(f"mmdebstrap made an empty root for {base.suite}.")
    return (layer,), epoch, base.suite


_EXPIRED = (
    r"--customize-hook=sed -i -e 's/^deb \[/&check-valid-until=no /;t'"
    r""" -e 's/^deb /&[check-valid-until=no] /' "$1"/etc/apt/sources.list"""
)
"""What the bootstrap was told is for roles too, which ask the same archive."""


def bootstrap_command(
    base: Debootstrap,
    architecture: str,
    releases: Path,
    options: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> list[str]:
    """Return mmdebstrap's command line. The signed release files are copied to *releases*.

    :param options: further ones.
    :param sources: one-line package sources instead of the base's own mirror.
    """
    argv = [
        "mmdebstrap",
        f"--variant={base.variant}",
        f"--components={','.join(base.components)}",
        f"--architectures={architecture}",
        "--format=tar",
        # Said although it is the default: no setting of the host may turn verification off.
        "--aptopt=Acquire::AllowInsecureRepositories false",
        "--aptopt=Acquire::AllowWeakRepositories false",
        "--aptopt=APT::Get::AllowUnauthenticated false",
        # Out through mmdebstrap: without root, hooks run as another user, who may not write here.
        '--customize-hook=cat "$1"/var/lib/apt/lists/*Release > "$1"/kiln-releases',
        f"--customize-hook=download /kiln-releases {shlex.quote(str(releases))}",
        '--customize-hook=rm "$1"/kiln-releases',
        # The root must not carry the options above into the image as a setting of its own.
        '--customize-hook=rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap',
    ]
    if base.include:
        argv.append(f"--include={','.join(base.include)}")
    if base.expired == "accept":
        argv += ["--aptopt=Acquire::Check-Valid-Until false", _EXPIRED]
    if base.keyring is not None:
        argv.append(f"--keyring={base.keyring}")
    argv += [*options, base.suite, "-", *sources]
    if base.mirror is not None and not sources:
        argv.append(base.mirror)
    return argv


def release_epoch(releases: str) -> int:
    """Return the newest ``Date`` of archive release files, in seconds since 1970.

    It dates a base by what it was made from, so that two bootstraps from the same state of the
    archive carry the same times. Raises DriverError when there is none.
    """
    dates = [
        int(parsedate_to_datetime(found).replace(tzinfo=UTC).timestamp())
        for found in re.findall(r"^Date: (.+)$", releases, flags=re.MULTILINE)
    ]
    if not dates:
        raise DriverError("The archive's release files carry no date.")
    return max(dates)


def describe_epoch(epoch: int) -> str:
    """Return *epoch* as RFC 3339 text in UTC."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
