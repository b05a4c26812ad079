# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dpkg's database of an image as its file has it, and apt's commands run by a module.

Follows dpkg's status file (deb822, dpkg(1)) and apt-get(8).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from .errors import DriverError

STATUS = Path("/var/lib/dpkg/status")
_ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "LC_ALL": "C.UTF-8",
}
_FIELD = re.compile(r"^(Package|Status|Architecture|Version|Provides): (.*)$", re.MULTILINE)
_REASON = re.compile(r"^(?:E|W): .*$", re.MULTILINE)


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


def run_apt(module: AnsibleModule, command: Sequence[str], purpose: str) -> str:
    """Run a command of apt or dpkg and return what it printed.

    :param purpose: what it is for, as "to ..." would go on.

    Raises DriverError with the lines that say why it failed.
    """
    code, output, errors = module.run_command(list(command), environ_update=_ENVIRONMENT)
    if code:
        said = f"{errors}\n{output}"
        reasons = _REASON.findall(said) or [line for line in said.splitlines() if line.strip()][-5:]
        raise DriverError(
            f"{command[0]} failed to {purpose}: {' '.join(dict.fromkeys(reasons))}",
            details={"stdout": str(output), "stderr": str(errors)},
        )
    return str(output)
