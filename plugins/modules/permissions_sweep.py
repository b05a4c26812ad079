#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set-user-id programs and world-writable paths, in one walk."""

from __future__ import annotations

DOCUMENTATION = r"""
module: permissions_sweep
short_description: Take set-user-id and world-writable permissions away, in one walk
version_added: 0.1.0
description:
  - Walks the root file system once, without crossing into other mounts.
  - Programs with the set-user-id or set-group-id bit lose it unless they are allowed. The new
    mode is recorded with dpkg, so that an upgrade in a later layer does not bring the bit back.
  - World-writable files lose that permission; world-writable directories get the sticky bit.
  - Files below C(/var/log) are taken from others, and no group may write them.
options:
  root:
    description: Where the walk begins.
    type: path
    default: /
  allowed:
    description: Absolute paths of programs that keep their set-user-id or set-group-id bit.
    type: list
    elements: path
    default: []
  world_writable:
    description: Sweep world-writable files and directories too.
    type: bool
    default: true
  logs:
    description: Sweep the files below C(/var/log) too.
    type: bool
    default: false
    version_added: 0.2.0
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
  diff_mode:
    description: Shows the modes before and after.
    support: full
author:
  - kiln.immutable contributors (@kiln-immutable)
"""

EXAMPLES = r"""
- name: Leave no set-user-id program but unix_chkpwd
  kiln.immutable.permissions_sweep:
    allowed:
      - /usr/sbin/unix_chkpwd
"""

RETURN = r"""
paths:
  description: The paths whose mode changed.
  returned: always
  type: list
  elements: str
"""

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.files import write_whole
from ..module_utils.core.module import run_module

LOGS = "/var/log/"
_LOG_MODE = 0o640
_SET_ID = stat.S_ISUID | stat.S_ISGID


def swept_mode(
    path: str, mode: int, allowed: Collection[str], *, world_writable: bool, logs: bool = False
) -> int:
    """Return the permissions that *path* (absolute) with st_mode *mode* is to have."""
    permissions = stat.S_IMODE(mode)
    if stat.S_ISREG(mode):
        if permissions & _SET_ID and path not in allowed:
            permissions &= ~_SET_ID
        if world_writable:
            permissions &= ~stat.S_IWOTH
        if logs and path.startswith(LOGS):
            permissions &= _LOG_MODE
    elif stat.S_ISDIR(mode) and world_writable and permissions & stat.S_IWOTH:
        permissions |= stat.S_ISVTX
    return permissions


def walk(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Give every path of the file system that *root* is on, with its status."""
    device = os.lstat(root).st_dev
    pending = [root]
    while pending:
        directory = pending.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # a process's own temporary file
                    continue
                # A mount over a file or directory is of another device; it is not in the image.
                if status.st_dev != device:
                    continue
                yield entry.path, status
                if stat.S_ISDIR(status.st_mode):
                    pending.append(entry.path)


def with_overrides(text: str, overrides: Mapping[str, str]) -> str:
    """Return dpkg's statoverride file with *overrides* (path to ``owner group mode``)."""
    lines = [line for line in text.splitlines() if line.split(" ", 3)[-1] not in overrides]
    lines.extend(f"{what} {path}" for path, what in sorted(overrides.items()))
    return "".join(f"{line}\n" for line in lines)


def _name(identity: int, database: str, root: Path) -> str:
    """Return the name that *root* gives *identity*, or ``#ID`` as dpkg writes nameless ones."""
    for line in (root / "etc" / database).read_text().splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(identity):
            return fields[0]
    return f"#{identity}"


def body(module: AnsibleModule) -> Mapping[str, Any]:
    """Walk, and set what differs."""
    root = Path(module.params["root"])
    prefix = len(str(root).rstrip("/"))
    allowed = frozenset(module.params["allowed"])
    world_writable, logs = module.params["world_writable"], module.params["logs"]
    overrides: dict[str, str] = {}
    before: list[str] = []
    after: list[str] = []
    paths: list[str] = []
    for name, status in walk(str(root)):
        path = name[prefix:]
        mode = swept_mode(path, status.st_mode, allowed, world_writable=world_writable, logs=logs)
        old = stat.S_IMODE(status.st_mode)
        if mode == old:
            continue
        paths.append(path)
        before.append(f"{old:04o} {path}\n")
        after.append(f"{mode:04o} {path}\n")
        if (old ^ mode) & _SET_ID:
            owner, group = _name(status.st_uid, "passwd", root), _name(status.st_gid, "group", root)
            overrides[path] = f"{owner} {group} {mode:o}"
        if not module.check_mode:
            os.chmod(name, mode)
    database = root / "var/lib/dpkg/statoverride"
    if overrides and database.parent.is_dir() and not module.check_mode:
        known = database.read_text() if database.is_file() else ""
        write_whole(database, with_overrides(known, overrides).encode())
    return {
        "changed": bool(paths),
        "paths": sorted(paths),
        "diff": {"before": "".join(sorted(before)), "after": "".join(sorted(after))},
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "allowed": {"type": "list", "elements": "path", "default": []},
            "world_writable": {"type": "bool", "default": True},
            "logs": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
