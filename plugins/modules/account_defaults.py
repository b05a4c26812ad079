#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts that nobody may log in to, and the defaults of those made later."""

from __future__ import annotations

DOCUMENTATION = r"""
module: account_defaults
short_description: Lock root, take the shell from system accounts, set login.defs
version_added: 0.1.0
description:
  - Edits C(/etc/login.defs), C(/etc/passwd) and C(/etc/shadow) in one go. Their owners and modes
    stay.
options:
  login_defs:
    description: Settings of login.defs(5), which has no drop-in directory. Others stay as they are.
    type: dict
    default: {}
  lock_root:
    description: Make root's password unusable.
    type: bool
    default: true
  system_shell:
    description:
      - The shell of system accounts that have another one; an empty string leaves them alone.
    type: str
    default: /usr/sbin/nologin
  keep_shell:
    description: System accounts that keep their shell.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
  diff_mode:
    description: Shows C(/etc/login.defs) and C(/etc/passwd) before and after, never C(/etc/shadow).
    support: partial
author:
  - kiln.immutable contributors (@kiln-immutable)
"""

EXAMPLES = r"""
- name: Nobody logs in to a system account
  kiln.immutable.account_defaults:
    login_defs:
      UMASK: "027"
"""

RETURN = r"""
paths:
  description: The files that changed.
  returned: always
  type: list
  elements: str
"""

import os
import re
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.files import write_whole
from ..module_utils.core.module import run_module

LAST_SYSTEM_UID = 999
NOBODY = 65534
NO_LOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")


def with_settings(text: str, settings: Mapping[str, str]) -> str:
    """Return login.defs with *settings*: each in place of its line, or at the end."""
    left = dict(settings)
    lines = []
    for line in text.splitlines():
        found = re.match(r"\s*([A-Z_]+)(\s+)(.*?)\s*$", line)
        if found is None or found[1] not in settings:
            lines.append(line)
            continue
        name = found[1]
        if name in left:
            value = left.pop(name)
            lines.append(line if found[3] == value else f"{name}\t{value}")
    lines.extend(f"{name}\t{value}" for name, value in left.items())
    return "\n".join(lines) + "\n" if lines else ""


def with_shells(passwd: str, shell: str, keep: Collection[str]) -> str:
    """Return passwd(5) with *shell* for system accounts that could log in, root excepted."""
    return _fields(passwd, lambda fields: _shell(fields, shell, keep))


def _shell(fields: list[str], shell: str, keep: Collection[str]) -> list[str]:
    name, uid, current = fields[0], fields[2], fields[-1]
    system = uid.isdecimal() and (0 < int(uid) <= LAST_SYSTEM_UID or int(uid) == NOBODY)
    if not system or name in keep or current in NO_LOGIN:
        return fields
    return [*fields[:-1], shell]


def with_locked(shadow: str, name: str) -> str:
    """Return shadow(5) where no password opens the account *name*."""

    def lock(fields: list[str]) -> list[str]:
        if fields[0] != name or fields[1].startswith(("!", "*")):
            return fields
        return [fields[0], "!" + fields[1], *fields[2:]]

    return _fields(shadow, lock)


def _fields(text: str, edit: Callable[[list[str]], list[str]]) -> str:
    lines = []
    for line in text.splitlines(keepends=True):
        fields = line.rstrip("\n").split(":")
        lines.append(":".join(edit(fields)) + "\n" if len(fields) > 6 else line)
    return "".join(lines)


def replace_content(path: Path, content: str) -> None:
    """Write *content* to *path*, which keeps its owner and mode."""
    status = path.stat()
    write_whole(path, content.encode(), mode=stat.S_IMODE(status.st_mode))
    os.chown(path, status.st_uid, status.st_gid)
    path.chmod(stat.S_IMODE(status.st_mode))


def body(module: AnsibleModule) -> Mapping[str, Any]:
    """Edit the three files."""
    parameters = module.params
    settings = {str(name): str(value) for name, value in parameters["login_defs"].items()}
    edits: dict[Path, Callable[[str], str]] = {
        Path("/etc/login.defs"): lambda text: with_settings(text, settings),
        Path("/etc/passwd"): lambda text: (
            with_shells(text, parameters["system_shell"], parameters["keep_shell"])
            if parameters["system_shell"]
            else text
        ),
        Path("/etc/shadow"): lambda text: (
            with_locked(text, "root") if parameters["lock_root"] else text
        ),
    }
    changed: list[str] = []
    diff: list[dict[str, str]] = []
    for path, edit in edits.items():
        if not path.is_file():
            continue
        before = path.read_text()
        after = edit(before)
        if before == after:
            continue
        changed.append(str(path))
        if path.name != "shadow":
            diff.append({"before_header": str(path), "after_header": str(path)})
            diff[-1].update(before=before, after=after)
        if not module.check_mode:
            replace_content(path, after)
    return {"changed": bool(changed), "paths": changed, "diff": diff}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "login_defs": {"type": "dict", "default": {}},
            "lock_root": {"type": "bool", "default": True},
            "system_shell": {"type": "str", "default": "/usr/sbin/nologin"},
            "keep_shell": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
