#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages that an image is to hold, installed together with its pending updates."""

from __future__ import annotations

DOCUMENTATION = r"""
module: packages_installed
short_description: Install those of many Debian packages that are missing
version_added: 0.2.0
description:
  - Reads dpkg's database, and starts apt only when something is missing or updates are asked for.
    Updates and new packages come in one run of apt.
  - Needs no binding of apt to Python on the target, and leaves none there.
  - Configuration files that somebody changed are kept.
options:
  names:
    description:
      - Names of packages, each C(NAME), C(NAME:ARCHITECTURE) or C(NAME=VERSION). In a version
        C(*) stands for any characters.
      - A package that an installed one provides counts as installed.
    type: list
    elements: str
    default: []
  upgrade:
    description: Install the pending updates, also those that bring or remove other packages.
    type: bool
    default: false
  recommends:
    description: Install what the packages recommend, too.
    type: bool
    default: false
  lists_valid_for:
    description:
      - Seconds for which the lists of packages are good enough. Older ones are fetched anew before
        anything is installed.
    type: int
    default: 3600
attributes:
  check_mode:
    description: >-
      Says what would change as far as the present lists tell, and fetches nothing. Where these are
      older than O(lists_valid_for), it says which of O(names) are missing, and nothing of updates.
    support: full
  diff_mode:
    description: Shows the packages and versions that come, change and go.
    support: full
author:
  - kiln.immutable contributors (@kiln-immutable)
"""

EXAMPLES = r"""
- name: Install nginx
  kiln.immutable.packages_installed:
    names: [nginx]

- name: Install the pending updates, and what every image has
  kiln.immutable.packages_installed:
    upgrade: true
    names: [ca-certificates, tzdata=2025*]
"""

RETURN = r"""
missing:
  description: Those of O(names) that were not there.
  returned: always
  type: list
  elements: str
lists_updated:
  description: Whether the lists of packages were fetched.
  returned: always
  type: bool
"""

import fnmatch
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.dpkg import Installed, read_status
from ..module_utils.core.errors import DriverError
from ..module_utils.core.module import run_apt, run_module

# The first is written by a hook of Debian's cloud images and desktops, and is then the better one.
LISTS = (Path("/var/lib/apt/periodic/update-success-stamp"), Path("/var/lib/apt/lists"))
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](:[a-z0-9-]+)?(=\S+)?")
_QUIET = ("--quiet=2", "--yes", "-o", "DPkg::Lock::Timeout=60")
_KEEP = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
# A list that cannot be fetched is an error: the packages of before it are not those of now.
_UPDATE = ("-o", "APT::Update::Error-Mode=any", "-o", "Acquire::Retries=3")
_PLANNED = re.compile(r"^(Inst|Remv) (\S+)(?: \[\S+\])?(?: \((\S+) .*\[(\S+)\]\))?", re.MULTILINE)


def missing(there: Iterable[Installed], names: Iterable[str]) -> list[str]:
    """Return those of *names* that none of the packages *there* is, in their order.

    Raises DriverError for what is no name of a package.
    """
    installed = [package for package in there if package.state == "installed"]
    provided = {name for package in installed for name in package.provides}
    absent = []
    for asked in dict.fromkeys(names):
        if not _NAME.fullmatch(asked):
            raise DriverError(
                f"{asked!r} in the option names is no name of a package.",
                hint="Write NAME, NAME:ARCHITECTURE or NAME=VERSION.",
            )
        named, _equals, version = asked.partition("=")
        name, _colon, architecture = named.partition(":")
        found = any(
            package.name == name
            and architecture in ("", package.architecture)
            and fnmatch.fnmatchcase(package.version, version or "*")
            for package in installed
        )
        if not found and (version or architecture or name not in provided):
            absent.append(asked)
    return absent


def listed(packages: Iterable[Installed]) -> list[str]:
    """Return a line for each of *packages* that is installed."""
    return sorted(
        f"{package.name}:{package.architecture} {package.version}\n"
        for package in packages
        if package.state == "installed"
    )


def planned(before: Iterable[str], simulated: str) -> list[str]:
    """Return the lines *before* as they would be after what apt *simulated*."""
    after = {line.partition(" ")[0]: line for line in before}
    for action, named, version, architecture in _PLANNED.findall(simulated):
        name, _colon, other = named.partition(":")
        if action == "Inst":
            after[f"{name}:{architecture}"] = f"{name}:{architecture} {version}\n"
        else:
            for line in [one for one in after if one.startswith(f"{name}:{other}")]:
                del after[line]
    return sorted(after.values())


def stale(now: float, valid_for: int) -> bool:
    """Whether the lists of packages are older than *valid_for* seconds."""
    for path in LISTS:
        if path.exists():
            return path.stat().st_mtime + valid_for < now
    return True


def body(module: AnsibleModule) -> Mapping[str, Any]:
    """Install what is missing."""
    params = module.params
    there = read_status()
    absent = missing(there, params["names"])
    before = listed(there)
    result = {"changed": False, "missing": absent, "lists_updated": False}
    if not absent and not params["upgrade"]:
        return result
    old = stale(time.time(), params["lists_valid_for"])
    recommends = "--install-recommends" if params["recommends"] else "--no-install-recommends"
    command = ["apt-get", *_QUIET, *_KEEP, recommends]
    command += ["dist-upgrade" if params["upgrade"] else "install", *absent]
    purpose = f"install {', '.join(absent)}" if absent else "install the pending updates"
    if not module.check_mode:
        if old:
            run_apt(module, ["apt-get", *_QUIET, *_UPDATE, "update"], "fetch the package lists")
            # Of lists that were the newest already, apt leaves the time as it was.
            os.utime(LISTS[-1])
            result["lists_updated"] = True
        run_apt(module, command, purpose)
        after = listed(read_status())
    elif old:
        after = [*before, *(f"{name} in the newest version\n" for name in absent)]
    else:
        after = planned(before, run_apt(module, [*command, "--simulate"], purpose))
    result["changed"] = after != before
    return {**result, "diff": {"before": "".join(before), "after": "".join(after)}}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "default": []},
            "upgrade": {"type": "bool", "default": False},
            "recommends": {"type": "bool", "default": False},
            "lists_valid_for": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
