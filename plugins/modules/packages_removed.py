#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages that no image is to hold, purged when they are there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: packages_removed
short_description: Purge those of many packages that are installed
version_added: 0.2.0
description:
  - Reads dpkg's database, and starts apt only when one of the packages is there.
  - Refuses when packages would go that are not in the list, because something needs them.
options:
  names:
    description: Names of packages; C(*) and C(?) stand for any characters.
    type: list
    elements: str
    required: true
  manager:
    description:
      - Purge apt as well, by dpkg. The database of packages stays, so that scanners know what the
        image holds.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
  diff_mode:
    description: Shows the packages that go.
    support: full
author:
  - kiln.immutable contributors (@kiln-immutable)
"""

EXAMPLES = r"""
- name: Remove programs that send passwords in the clear
  kiln.immutable.packages_removed:
    names: [telnet, rsh-client]
"""

RETURN = r"""
removed:
  description: The packages that were purged, or would be.
  returned: always
  type: list
  elements: str
"""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.dpkg import read_status
from ..module_utils.core.errors import DriverError
from ..module_utils.core.module import run_apt, run_module

MANAGER = "apt"


def unwanted(there: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Return those of *there* that one of *patterns* names, sorted."""
    one = re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)")
    return sorted(name for name in there if one.match(name))


def body(module: AnsibleModule) -> Mapping[str, Any]:
    """Purge what is there."""
    there = {package.name for package in read_status()}
    names = unwanted(there, module.params["names"])
    if names:
        _only(module, names)
        if not module.check_mode:
            run_apt(module, ["apt-get", "--quiet=2", "--yes", "purge", *names], "purge packages")
    if module.params["manager"] and MANAGER in there:
        names = [*names, MANAGER]
        if not module.check_mode:
            force = "--force-remove-essential,remove-protected,depends"
            run_apt(module, ["dpkg", force, "--purge", MANAGER], f"purge {MANAGER}")
    return {
        "changed": bool(names),
        "removed": names,
        "diff": {"before": "".join(f"{name}\n" for name in names), "after": ""},
    }


def _only(module: AnsibleModule, names: list[str]) -> None:
    simulate = ["apt-get", "--simulate", "--quiet=2", "purge", *names]
    plan = run_apt(module, simulate, "say what a purge would do")
    found = re.findall(r"^(?:Purg|Remv) (\S+)", plan, flags=re.MULTILINE)
    others = sorted({name.partition(":")[0] for name in found} - set(names))
    if others:
        raise DriverError(
            f"{', '.join(names)} cannot be removed because of {', '.join(others)}.",
            hint="Take out of the list what the image needs, or add these packages to it.",
        )


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "manager": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
