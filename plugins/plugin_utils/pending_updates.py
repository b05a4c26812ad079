# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which security updates wait for a version: its packages, and the archives that it names."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.version import Version
from ..module_utils.core.canonical import encode
from ..module_utils.core.errors import DriverError
from ..module_utils.core.files import write_whole
from ..module_utils.oci.descriptor import INDEX, Descriptor
from ..module_utils.oci.image import read_image

_FORM = 1
_TIMEOUT = 30.0


def _fetch(url: str) -> bytes:
    # It takes long to load, which who has everything at hand need not wait for.
    from ansible.module_utils.urls import open_url

    scheme, _colon, rest = url.partition(":")
    if scheme in ("file", "copy"):
        return Path("/" + rest.lstrip("/")).read_bytes()
    content: bytes = open_url(url, timeout=_TIMEOUT).read()
    return content


@dataclass(frozen=True, slots=True)
class Contents:
    """What a version consists of, as far as updates go.

    :param packages: name, version and architecture of each.
    :param sources: texts of the files that name its archives.
    """

    architecture: str
    packages: tuple[tuple[str, str, str], ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class PendingUpdates:
    """Asks each archive once, and keeps its answer for *hours*.

    :param keyring: keys of the archives, Debian's own by default.
    """

    shop: Workshop
    now: datetime
    hours: float = 1.0
    keyring: Path | None = None
    _indexes: dict[tuple[str, str], Any] = field(default_factory=dict)

    def of(self, version: Version) -> tuple[Sequence[str] | None, str]:
        """Return the packages that have an update, as ``NAME OLD -> NEW``; or None, and why."""
        if not self.shop.layout.has(version.index):
            return None, "the version is not in this home's store"
        try:
            contents = self._contents(version)
            return self._pending(contents)
        except DriverError as error:
            return None, error.message

    def _pending(self, contents: Contents) -> tuple[Sequence[str] | None, str]:
        from ..module_utils.trust.packages import Package
        from ..module_utils.trust.security_index import (
            security_archives,
        )

        archives = security_archives(contents.sources)
        if not archives:
            return None, "its package sources name no archive of security updates"
        packages = [
            Package(name, version, architecture, name, version)
            for name, version, architecture in contents.packages
        ]
        found = {
            f"{one.name} {one.installed} -> {one.available}"
            for archive in archives
            for one in self.index(archive, contents.architecture).updates(packages)
        }
        return tuple(sorted(found)), ""

    def index(self, archive: Any, architecture: str) -> Any:
        """Return what *archive* has, asked once; DriverError when it cannot be had."""
        from ..module_utils.trust.security_index import read_index

        key = (archive.top, architecture)
        if key not in self._indexes:
            try:
                self._indexes[key] = read_index(
                    archive,
                    architecture,
                    fetch=self._fetched,
                    keyring=self.keyring,
                    folder=self.shop.home.cache / "security",
                    now=self.now,
                )
            except DriverError as error:
                # Ten rows of the same archive need not wait for it ten times.
                self._indexes[key] = error
        found = self._indexes[key]
        if isinstance(found, DriverError):
            raise found
        return found

    def _fetched(self, url: str) -> bytes:
        """Give what is behind *url*, from a moment ago where it was asked for then."""
        name = hashlib.sha256(url.encode()).hexdigest()
        kept = self.shop.home.cache / "security" / f"{name}.fetched"
        if not url.endswith("/InRelease"):
            return _fetch(url)
        try:
            if time.time() - kept.stat().st_mtime < self.hours * 3600:
                return kept.read_bytes()
        except FileNotFoundError:
            pass
        content = _fetch(url)
        write_whole(kept, content)
        return content

    def _contents(self, version: Version) -> Contents:
        """Return what is in a version; the reading of its layers is done once."""
        kept = self.shop.home.cache / "contents" / f"{version.index.partition(':')[2]}.json"
        try:
            value = json.loads(kept.read_bytes())
            if value["form"] == _FORM:
                packages = tuple((one[0], one[1], one[2]) for one in value["packages"])
                return Contents(value["architecture"], packages, tuple(value["sources"]))
        except (OSError, ValueError, LookupError, TypeError):
            pass
        found = self._read(version)
        document = {
            "form": _FORM,
            "architecture": found.architecture,
            "packages": [list(one) for one in found.packages],
            "sources": list(found.sources),
        }
        write_whole(kept, encode(document))
        return found

    def _read(self, version: Version) -> Contents:
        from ..module_utils.trust.examination import STATUS, examine

        layout = self.shop.layout
        size = layout.path(version.index).stat().st_size
        image = read_image(layout, Descriptor(INDEX, version.index, size))
        root = examine(layout, image.layers)
        if not root.text(STATUS):
            raise DriverError(f"{version.image} {version.number} has no database of packages.")
        architecture = str((image.manifest.platform or {}).get("architecture", ""))
        sources = root.texts(r"etc/apt/sources\.list(\.d/[^/]+\.(list|sources))?")
        return Contents(
            # Debian and Go disagree on few names, and on none of 64 bits but this one.
            {"arm": "armhf", "ppc64le": "ppc64el"}.get(architecture, architecture),
            tuple((one.name, one.version, one.architecture) for one in root.packages),
            tuple(sources[path] for path in sorted(sources)),
        )
