# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bill of materials says of an image, whatever format it is written in. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from .packages import Package

# What Debian calls licences, where SPDX's list calls them otherwise (SPDX licence list 3).
_SPDX = {
    "Apache-2": "Apache-2.0",
    "Artistic": "Artistic-1.0-Perl",
    "BSD-2-Clause": "BSD-2-Clause",
    "BSD-2-clause": "BSD-2-Clause",
    "BSD-3-clause": "BSD-3-Clause",
    "BSD-4-clause": "BSD-4-Clause",
    "Expat": "MIT",
    "GFDL-1.3+": "GFDL-1.3-or-later",
    "GPL-1+": "GPL-1.0-or-later",
    "GPL-2": "GPL-2.0-only",
    "GPL-2+": "GPL-2.0-or-later",
    "GPL-3": "GPL-3.0-only",
    "GPL-3+": "GPL-3.0-or-later",
    "ISC": "ISC",
    "LGPL-2": "LGPL-2.0-only",
    "LGPL-2+": "LGPL-2.0-or-later",
    "LGPL-2.1": "LGPL-2.1-only",
    "LGPL-2.1+": "LGPL-2.1-or-later",
    "LGPL-3": "LGPL-3.0-only",
    "LGPL-3+": "LGPL-3.0-or-later",
    "MIT": "MIT",
    "MPL-2": "MPL-2.0",
    "MPL-2.0": "MPL-2.0",
    "Zlib": "Zlib",
}


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """A layer as a bill of materials names it.

    :param name: the base's suite, or the name that the definition gives.
    """

    name: str
    diff_id: str


@dataclass(frozen=True, slots=True)
class Materials:
    """An image and what it is made of.

    :param digest: of the version's index.
    :param epoch: when what it is made from was released; the bill bears no other time.
    :param packages: sorted; each has the index of its layer.
    :param system: the fields of os-release.
    """

    name: str
    digest: str
    epoch: int
    layers: Sequence[ImageLayer]
    packages: Sequence[Package]
    system: Mapping[str, str]


def package_url(package: Package, system: Mapping[str, str]) -> str:
    """Return the purl of a Debian package (purl specification, types/deb-definition)."""
    qualifiers = {"arch": package.architecture}
    if version := system.get("VERSION_ID"):
        qualifiers["distro"] = f"{system.get('ID', 'debian')}-{version}"
    if (package.source, package.source_version) != (package.name, package.version):
        same = package.source_version == package.version
        origin = package.source if same else f"{package.source}@{package.source_version}"
        qualifiers["upstream"] = origin
    told = "&".join(
        f"{key}={quote(value, safe='.-~:')}" for key, value in sorted(qualifiers.items())
    )
    namespace = quote(system.get("ID", "debian"), safe="")
    version = quote(package.version, safe=".-~:")
    return f"pkg:deb/{namespace}/{quote(package.name, safe='.-~')}@{version}?{told}"


def spdx_licence(name: str) -> str | None:
    """Return the SPDX identifier of what Debian calls *name*, None when it is not known."""
    return _SPDX.get(name)


def os_release(text: str) -> dict[str, str]:
    """Return the fields of an os-release(5) file."""
    fields = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            fields[name.strip()] = value.strip().strip("\"'")
    return fields
