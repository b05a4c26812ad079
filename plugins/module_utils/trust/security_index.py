# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages a security archive has newer: by its signed index, so that a mirror is enough.

The way is apt's own (apt-secure(8)): the signature of ``InRelease`` is verified, it names the
digest of each ``Packages`` file, and that is verified before it is read.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from ..core.canonical import encode
from ..core.command import Runner, last_lines, run
from ..core.errors import DriverError
from ..core.files import write_whole
from .packages import Package, compare_versions, paragraphs

KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
_FORM = 1
_ONE_LINE = re.compile(r"^deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)\s+(.+)$")
_HASH_LINE = re.compile(r"^ ([0-9a-f]{64})\s+(\d+)\s+(\S+)$")
_PACKED: Mapping[str, Callable[[bytes], bytes]] = {
    ".xz": lzma.decompress,
    ".gz": lambda content: zlib.decompress(content, wbits=31),
    "": lambda content: content,
}

Fetch = Callable[[str], bytes]
"""Gives the content behind a URL; OSError or ValueError when it cannot."""


@dataclass(frozen=True, slots=True, order=True)
class Archive:
    """A suite of a package archive that has security updates."""

    url: str
    suite: str
    components: tuple[str, ...]

    @property
    def top(self) -> str:
        """The URL of the suite's folder."""
        return f"{self.url.rstrip('/')}/dists/{self.suite}"


@dataclass(frozen=True, slots=True)
class Update:
    """An installed package that the archive has newer."""

    name: str
    installed: str
    available: str


@dataclass(frozen=True, slots=True)
class SecurityIndex:
    """The newest version of each package of an archive, by name and architecture."""

    newest: Mapping[tuple[str, str], str]

    def updates(self, packages: Iterable[Package]) -> tuple[Update, ...]:
        """Return those of *packages* that the archive has newer, by name."""
        found = set()
        for package in packages:
            newest = self.newest.get(package.identity)
            if newest is not None and compare_versions(package.version, newest) < 0:
                found.add(Update(package.name, package.version, newest))
        return tuple(sorted(found, key=lambda one: one.name))


def security_archives(texts: Iterable[str]) -> tuple[Archive, ...]:
    """Return the security archives that *texts* name: lines of sources.list, or deb822 entries."""
    found = set()
    for text in texts:
        for line in text.splitlines():
            one = _ONE_LINE.match(line.strip())
            if one is not None:
                found.add(Archive(one[1], one[2], tuple(one[3].partition("#")[0].split())))
        for entry in re.split(r"\n[ \t]*\n", re.sub(r"(?m)^#.*\n?", "", text)):
            fields = {
                key.lower(): " ".join(value.split())
                for key, value in re.findall(r"(?m)^([A-Za-z-]+):((?:.*)(?:\n[ \t].*)*)", entry)
            }
            if "deb" in fields.get("types", "").split() and fields.get("enabled") != "no":
                for url in fields.get("uris", "").split():
                    for suite in fields.get("suites", "").split():
                        parts = tuple(fields.get("components", "").split())
                        found.add(Archive(url, suite, parts))
    return tuple(sorted(one for one in found if one.suite.rstrip("/").endswith("-security")))


def read_index(
    archive: Archive,
    architecture: str,
    *,
    fetch: Fetch,
    keyring: Path | None = None,
    folder: Path,
    now: datetime,
    runner: Runner = run,
) -> SecurityIndex:
    """Return what *archive* has for *architecture*; DriverError says what cannot be believed.

    :param keyring: keys of the archive; Debian's own by default.
    :param folder: where what was read is kept, by the digest of the signed index.
    """
    signed = _fetched(fetch, f"{archive.top}/InRelease")
    kept = folder / (
        hashlib.sha256(
            encode([_FORM, signed.hex(), architecture, list(archive.components)])
        ).hexdigest()
    )
    release = _verified(signed, archive, keyring or _debian_keyring(), runner)
    _check_age(release, archive, now)
    known = _read_kept(kept)
    if known is not None:
        return known
    digests = {path: digest for digest, _size, path in _hashes(release)}
    newest: dict[tuple[str, str], str] = {}
    for component in archive.components:
        stem = f"{component}/binary-{architecture}/Packages"
        end = next((end for end in _PACKED if stem + end in digests), None)
        if end is None:
            continue
        content = _fetched(fetch, f"{archive.top}/{stem}{end}")
        if hashlib.sha256(content).hexdigest() != digests[stem + end]:
            raise DriverError(
                f"{archive.top}/{stem}{end} is not what the signed index says.",
                hint="The mirror is being updated, or was tampered with: try again later.",
            )
        for fields in paragraphs(_PACKED[end](content).decode("utf-8", "replace")):
            key = (fields["Package"], fields.get("Architecture", ""))
            version = fields.get("Version", "")
            if key not in newest or compare_versions(newest[key], version) < 0:
                newest[key] = version
    write_whole(kept, encode([[*key, version] for key, version in sorted(newest.items())]))
    return SecurityIndex(newest)


def _read_kept(path: Path) -> SecurityIndex | None:
    try:
        rows = json.loads(path.read_bytes())
        return SecurityIndex({(name, arch): version for name, arch, version in rows})
    except (OSError, ValueError, TypeError):
        return None


def _debian_keyring() -> Path:
    found = next((path for path in KEYRINGS if path.exists()), None)
    if found is None:
        raise DriverError(
            "The keys of Debian's archive are not here.",
            hint="apt-get install debian-archive-keyring",
        )
    return found


def _fetched(fetch: Fetch, url: str) -> bytes:
    try:
        return fetch(url)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DriverError(f"{url} cannot be fetched: {reason}.") from error


def _verified(signed: bytes, archive: Archive, keyring: Path, runner: Runner) -> str:
    """Return what was signed, without what stands around it."""
    with tempfile.TemporaryDirectory(prefix="kiln-security-") as temporary:
        source, target = Path(temporary) / "InRelease", Path(temporary) / "Release"
        source.write_bytes(signed)
        argv: Sequence[str] = ["gpgv", "--keyring", str(keyring), "--output", str(target)]
        done = runner([*argv, str(source)], check=False)
        if done.status != 0 or not target.exists():
            raise DriverError(
                f"{archive.top}/InRelease is not signed by a key of {keyring}:"
                f" {last_lines(done, 2)}"
            )
        return target.read_text("utf-8", "replace")


def _check_age(release: str, archive: Archive, now: datetime) -> None:
    found = re.search(r"(?m)^Valid-Until: (.*)$", release)
    if found is None:
        return
    until = parsedate_to_datetime(found[1].replace("UTC", "+0000"))
    if until.replace(tzinfo=until.tzinfo or UTC) < now:
        raise DriverError(
            f"{archive.top}/InRelease was valid until {found[1]}.",
            hint="The mirror is behind: what it says of security updates is out of date.",
        )


def _hashes(release: str) -> Iterable[tuple[str, int, str]]:
    _before, _title, listing = f"\n{release}".partition("\nSHA256:")
    for line in listing.splitlines()[1:]:
        found = _HASH_LINE.match(line)
        if found is None:
            return
        yield found[1], int(found[2]), found[3]
