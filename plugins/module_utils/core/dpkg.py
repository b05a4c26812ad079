# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dpkg's database of packages, as its status file has it (deb822; see dpkg(1))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

STATUS = Path("/var/lib/dpkg/status")
_FIELD = re.compile(r"^(Package|Status|Architecture|Version|Provides): (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Installed:
    """A package of dpkg's database.

    :param state: ``installed``, or what is left of it: ``config-files``, ``half-configured``, ...
    :param provides: names of other packages that it stands for.
    """

    name: str
    version: str
    architecture: str
    state: str
    provides: tuple[str, ...] = ()


def parse_status(text: str) -> list[Installed]:
    """Return the packages of a status file that are there, in whatever state."""
    found = []
    for stanza in text.split("\n\n"):
        fields = dict(_FIELD.findall(stanza))
        state = fields.get("Status", "").rpartition(" ")[2]
        if "Package" in fields and state not in ("", "not-installed"):
            provides = [one.split() for one in fields.get("Provides", "").split(",")]
            found.append(
                Installed(
                    fields["Package"],
                    fields.get("Version", ""),
                    fields.get("Architecture", ""),
                    state,
                    tuple(words[0].partition(":")[0] for words in provides if words),
                )
            )
    return found


def read_status() -> list[Installed]:
    """Return the packages of this system; none where there is no dpkg."""
    return parse_status(STATUS.read_text("utf-8", "replace")) if STATUS.is_file() else []
