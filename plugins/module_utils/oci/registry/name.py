# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of repositories in registries: ``registry.example.org/team/web``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from ...core.errors import DriverError

# distribution-spec v1.1, "Pulling manifests": what a name and a tag may be.
_PART = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(f"{_PART}(?:/{_PART})*")
_TAG = re.compile("[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_HOST = re.compile(
    "(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])(?::[0-9]{1,5})?"
)
_FORM = "A repository reads registry.example.org/team, perhaps with a port after the host."


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a registry.

    :param host: of the registry, with the port if it was given.
    :param name: path of the repository in it; empty for a registry as a whole.
    :param scheme: ``https`` or ``http`` if the user wrote one, else empty.
    """

    host: str
    name: str
    scheme: str = ""

    @classmethod
    def parse(cls, text: str) -> Repository:
        """Read what a user wrote; DriverError when it names no repository.

        ``oci://``, ``https://`` and ``http://`` may stand before it.
        """
        scheme, found, rest = text.strip().partition("://")
        if not found:
            scheme, rest = "", text.strip()
        if scheme not in {"", "oci", "https", "http"}:
            raise DriverError(f"{text!r} names no registry: {scheme}:// is unknown.", hint=_FORM)
        host, _slash, name = rest.strip("/").partition("/")
        if not _HOST.fullmatch(host) or not has_host(rest):
            raise DriverError(f"{text!r} names no registry.", hint=_FORM)
        if name and not _NAME.fullmatch(name):
            raise DriverError(
                f"{text!r} cannot be a repository: {name!r} is not in the form of one.",
                hint="Names have small letters and digits, joined by / . _ or -, and no tag.",
            )
        return cls(host.lower(), name, "" if scheme == "oci" else scheme)

    def child(self, name: str) -> Repository:
        """The repository *name* below this one; DriverError when there can be none."""
        whole = f"{self.name}/{name}" if self.name else name
        if not _NAME.fullmatch(whole):
            raise DriverError(f"{whole!r} cannot be the name of a repository in {self.host}.")
        return replace(self, name=whole)

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this very machine, by its name."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"{self.host}/{self.name}" if self.name else self.host


def has_host(text: str) -> bool:
    """Whether *text* begins with a host as Docker tells one from a path: by a dot or a port."""
    first = text.partition("/")[0]
    return first == "localhost" or (":" in first) or ("." in first.strip("."))


def is_loopback(host: str) -> bool:
    """Whether *host*, perhaps with a port, means this machine whatever DNS says."""
    name = re.sub(":[0-9]+$", "", host).strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_tag(tag: str) -> str:
    """Return *tag*; DriverError when it cannot be one."""
    if not _TAG.fullmatch(tag):
        raise DriverError(
            f"{tag!r} cannot be a tag.",
            hint="A tag has up to 128 letters, digits, _ . and -, and begins with none of . and -.",
        )
    return tag
