# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages as the database of dpkg has them, and the order of their versions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cmp_to_key

_SOURCE = re.compile(r"(\S+)(?:\s+\((\S+)\))?")
_PARTS = re.compile(r"(\D*)(\d*)")


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package.

    :param source: name of the source package that it was built from.
    :param source_version: of that; it differs from the package's own after a binary rebuild.
    :param licences: as the package's copyright file names them.
    :param layer: index of the layer that brought it in this version; 0 is the base's first.
    """

    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    maintainer: str = ""
    homepage: str = ""
    summary: str = ""
    licences: tuple[str, ...] = ()
    layer: int = 0

    @property
    def identity(self) -> tuple[str, str]:
        """Name and architecture: what dpkg has at most once."""
        return (self.name, self.architecture)


def installed_packages(status: str) -> list[Package]:
    """Return the packages that dpkg's *status* file has as installed, by name and architecture."""
    found = []
    for fields in paragraphs(status):
        if fields.get("Status", "").split()[-1:] != ["installed"]:
            continue
        name, version = fields["Package"], fields["Version"]
        match = _SOURCE.fullmatch(fields.get("Source", ""))
        source, source_version = match.groups() if match else (name, None)
        found.append(
            Package(
                name=name,
                version=version,
                architecture=fields.get("Architecture", ""),
                source=source,
                source_version=source_version or version,
                maintainer=fields.get("Maintainer", ""),
                homepage=fields.get("Homepage", ""),
                summary=fields.get("Description", ""),
            )
        )
    return sorted(found, key=lambda package: package.identity)


def paragraphs(text: str) -> Iterator[Mapping[str, str]]:
    """Yield the paragraphs of a control file (deb822(5)); of a field the first line only."""
    for block in text.split("\n\n"):
        fields = {}
        for line in block.split("\n"):
            if line and line[0] not in " \t#":
                name, colon, value = line.partition(":")
                if colon:
                    fields[name] = value.strip()
        if fields.get("Package"):
            yield fields


def licences_of(copyright_text: str) -> tuple[str, ...]:
    """Return the short names of licences in a machine-readable copyright file (DEP-5).

    Another kind of file gives none: guessing from prose is worse than saying nothing.
    """
    if "copyright-format" not in copyright_text[:500]:
        return ()
    names = set()
    for line in copyright_text.splitlines():
        if line.startswith("License:"):
            name = line.removeprefix("License:").strip()
            if name:
                names.add(name)
    return tuple(sorted(names))


def compare_versions(first: str, second: str) -> int:
    """Return below 0, 0 or above 0 as *first* is older, equal or newer (deb-version(7))."""
    one, other = _split(first), _split(second)
    if one[0] != other[0]:
        return one[0] - other[0]
    return _compare_part(one[1], other[1]) or _compare_part(one[2], other[2])


version_key = cmp_to_key(compare_versions)


def _split(version: str) -> tuple[int, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, ""
    return int(epoch) if epoch.isdigit() else 0, upstream, revision


def _compare_part(first: str, second: str) -> int:
    if first == second:
        return 0
    ones, others = _PARTS.findall(first), _PARTS.findall(second)
    for index in range(max(len(ones), len(others))):
        text, number = ones[index] if index < len(ones) else ("", "")
        other_text, other_number = others[index] if index < len(others) else ("", "")
        order = _compare_text(text, other_text) or int(number or 0) - int(other_number or 0)
        if order:
            return order
    return 0


def _compare_text(first: str, second: str) -> int:
    for index in range(max(len(first), len(second))):
        order = _weight(first[index : index + 1]) - _weight(second[index : index + 1])
        if order:
            return order
    return 0


def _weight(character: str) -> int:
    """A tilde sorts before the end, the end before letters, letters before all else."""
    if character == "~":
        return -1
    if not character:
        return 0
    return ord(character) if character.isalpha() else ord(character) + 256
