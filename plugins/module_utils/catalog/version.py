# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the catalog knows of one version of an image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..core.errors import DriverError

_NUMBER = re.compile(r"(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True, order=True)
class VersionNumber:
    """A number such as 1.4.7: the definition's series and a count of its bakes."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> VersionNumber:
        """The number that *text* spells; DriverError when it is none."""
        match = _NUMBER.fullmatch(text)
        if match is None:
            raise DriverError(f"{text!r} is no version number such as 1.4.7.")
        return cls(*(int(part) for part in match.groups()))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def next_number(series: str, taken: Iterable[VersionNumber]) -> VersionNumber:
    """Return the number after the highest *taken* one of *series* (``MAJOR.MINOR``), from 1 on."""
    major, minor = (int(part) for part in series.split("."))
    patches = [n.patch for n in taken if (n.major, n.minor) == (major, minor)]
    return VersionNumber(major, minor, max(patches, default=0) + 1)


@dataclass(frozen=True, slots=True)
class Version:
    """An immutable version.

    :param index: digest of the OCI image index; the version *is* these bytes.
    :param config: digest of the container image's configuration, the engine's image ID.
    :param created: RFC 3339, UTC; the time of what it was made from, not of the making.
    :param size: bytes of all blobs, as stored.
    :param parent: name of the image that it is built on, None for another base.
    :param parent_version: number of that image's version.
    :param lock: digest of the locked packages of its layers, None without a lock.
    :param recorded: RFC 3339, UTC; when it got its number.
    :param signatures: the keys that it was signed with when it was recorded.
    """

    image: str
    number: str
    index: str
    config: str
    bake_key: str
    definition_digest: str
    definition_revision: str | None
    created: str
    size: int
    base: str
    parent: str | None = None
    parent_version: str | None = None
    lock: str | None = None
    recorded: str = ""
    signatures: tuple[str, ...] = ()

    def as_document(self) -> dict[str, Any]:
        """The version as the mapping that is written to its file."""
        return {**asdict(self), "signatures": list(self.signatures)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Version:
        """The inverse of as_document; DriverError names what is missing."""
        try:
            return cls(**{**document, "signatures": tuple(document.get("signatures") or ())})
        except TypeError as error:
            raise DriverError(f"A version record is damaged: {error}.") from error
