#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles of pam-auth-update(8), written and enabled in one go."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pam_profiles
short_description: Write and enable profiles of pam-auth-update
version_added: 0.2.0
description:
  - Profiles are the drop-in files of Debian's PAM. Packages of later layers that bring profiles of
    their own keep working, which they do not beside an edited C(/etc/pam.d/common-auth).
  - Where Debian's PAM is not installed, nothing is done.
options:
  profiles:
    description: Names of profiles and their texts. They are written and enabled.
    type: dict
    default: {}
  disabled:
    description: Names of profiles that are not to be used.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
  diff_mode:
    description: Shows the profiles and, outside of check mode, the files that are made of them.
    support: full
author:
  - kiln.immutable contributors (@kiln-immutable)
"""

EXAMPLES = r"""
- name: Remember old passwords
  kiln.immutable.pam_profiles:
    profiles:
      kiln-history: |
        Name: Password history
        Default: yes
        Priority: 512
        Password-Type: Primary
        Password:
          requisite pam_pwhistory.so remember=24 use_authtok
"""

RETURN = r"""
paths:
  description: The files that changed.
  returned: always
  type: list
  elements: str
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.errors import DriverError
from ..module_utils.core.files import write_whole
from ..module_utils.core.module import run_module

PROFILES = Path("/usr/share/pam-configs")
MADE = tuple(
    Path("/etc/pam.d") / f"common-{part}"
    for part in ("account", "auth", "password", "session", "session-noninteractive")
)
CHOSEN = Path("/var/lib/pam")
PROGRAM_PATH = "/usr/sbin:/sbin"


def in_use(name: str) -> bool:
    """Whether pam-auth-update noted *name* as enabled."""
    return any(
        f"Module: {name}" in path.read_text().splitlines()
        for path in CHOSEN.glob("*")
        if path.is_file() and path.name in ("account", "auth", "password", "session")
    )


def _texts() -> dict[str, str]:
    return {str(path): path.read_text() for path in MADE if path.is_file()}


def body(module: AnsibleModule) -> Mapping[str, Any]:
    """Write the profiles, and have pam-auth-update make the files anew when it must."""
    profiles: dict[str, str] = {key: str(text) for key, text in module.params["profiles"].items()}
    program = shutil.which("pam-auth-update", path=PROGRAM_PATH)
    if program is None:
        return {"changed": False, "paths": []}
    before = {str(PROFILES / name): _read(PROFILES / name) for name in profiles}
    disabled = [name for name in module.params["disabled"] if in_use(name)]
    rewritten = [path for path, text in before.items() if text != profiles[Path(path).name]]
    if not (rewritten or disabled or not all(map(in_use, profiles))):
        return {"changed": False, "paths": []}
    after = {path: profiles[Path(path).name] for path in before}
    if not module.check_mode:
        made = _texts()
        for path in rewritten:
            write_whole(Path(path), after[path].encode())
        enable = ["--enable", *profiles] if profiles else []
        disable = ["--disable", *module.params["disabled"]] if module.params["disabled"] else []
        # The options take all names up to the next one; a disabled profile comes out first.
        for options in filter(None, (disable, enable)):
            _run(module, [program, *options])
        before.update(made)
        after.update(_texts())
        if not all(map(in_use, profiles)):
            raise DriverError(
                "pam-auth-update left the files in /etc/pam.d as they are.",
                hint="They were edited by hand: let pam-auth-update --force make them anew first.",
            )
    paths = sorted(path for path in after if before.get(path, "") != after[path])
    return {
        "changed": True,
        "paths": paths,
        "diff": [
            {
                "before_header": path,
                "after_header": path,
                "before": before.get(path, ""),
                "after": after[path],
            }
            for path in paths
        ],
    }


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _run(module: AnsibleModule, command: list[str]) -> None:
    environment = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    code, _out, errors = module.run_command(command, environ_update=environment)
    if code:
        raise DriverError(f"pam-auth-update failed: {errors.strip()}")


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "profiles": {"type": "dict", "default": {}},
            "disabled": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
