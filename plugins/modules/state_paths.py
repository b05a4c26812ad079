#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared state of an image: there, and all that its service can write."""

from __future__ import annotations

DOCUMENTATION = r"""
module: state_paths
short_description: Make the declared state, and see that a service can write nothing else
version_added: 0.2.0
description:
  - Makes a directory for each path of I(paths), with its owner and mode, so that a volume that is
    mounted there starts with them.
  - Walks the root file system once, without crossing into other mounts, and fails when I(user)
    could write to a path that is neither state nor I(allowed). Who owns a path can write to it,
    whatever its mode is. For root, who writes everywhere, only what everybody can write counts.
options:
  paths:
    description: The state, as an image definition declares it.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      kind:
        description: Whether the path lasts or goes away with the instance.
        type: str
        choices: [volume, tmpfs]
        default: volume
      owner:
        description: The owner, C(UID:GID) in numbers.
        type: str
        default: "0:0"
      mode:
        description: Permissions in octal.
        type: str
        default: "0755"
  user:
    description:
      - The service's user, C(USER) or C(USER:GROUP), by name or number; root when empty.
    type: str
    default: ""
  create:
    description: Make the directories of I(paths).
    type: bool
    default: true
  check:
    description: See that nothing else can be written.
    type: bool
    default: true
  allowed:
    description: Absolute paths that may be written to beside the state, with all below them.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    description: Says what would change and changes nothing; it looks for other writable paths too.
    support: full
  diff_mode:
    description: Shows owners and modes before and after.
    support: full
author:
  - kiln.immutable contributors (@kiln-immutable)
"""

EXAMPLES = r"""
- name: Let the service write to its uploads only
  kiln.immutable.state_paths:
    user: www-data
    paths:
      - path: /srv/uploads
        owner: "33:33"
        mode: "0750"
"""

RETURN = r"""
paths:
  description: The directories that were made or changed.
  returned: always
  type: list
  elements: str
"""

import grp
import os
import pwd
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.errors import DriverError
from ..module_utils.core.module import run_module

# Not of the image: another file system is mounted there in every instance.
ELSEWHERE = ("/dev", "/proc", "/run", "/sys", "/tmp")
# Temporary files are everybody's.
ALWAYS_ALLOWED = (*ELSEWHERE, "/var/tmp")
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Service:
    """Who a service runs as."""

    uid: int = 0
    gids: frozenset[int] = field(default_factory=frozenset)

    def can_write(self, status: os.stat_result) -> bool:
        """Return whether the service could write to what has *status*, root's rights aside."""
        mode = stat.S_IMODE(status.st_mode)
        if self.uid and status.st_uid == self.uid:
            return True
        if self.uid and status.st_gid in self.gids:
            return bool(mode & stat.S_IWGRP)
        return bool(mode & stat.S_IWOTH)


def find_service(user: str) -> Service:
    """Return who *user* is on this machine; raises DriverError when there is no such account."""
    name, _colon, group = user.partition(":")
    if name in ("", "0", "root"):
        return Service()
    try:
        account = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError as error:
        if name.isdecimal():
            gids = {int(group)} if group.isdecimal() else set[int]()
            return Service(int(name), frozenset(gids))
        raise DriverError(
            f"The user {name} of the service does not exist on the target.",
            hint="Put the role state behind the role that makes the user.",
        ) from error
    try:
        named = [int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid] if group else []
    except KeyError as error:
        raise DriverError(
            f"The group {group} of the service does not exist on the target.",
            hint="Put the role state behind the role that makes the group.",
        ) from error
    if named:
        return Service(account.pw_uid, frozenset(named))
    return Service(account.pw_uid, frozenset(os.getgrouplist(account.pw_name, account.pw_gid)))


def below(path: str, folders: Collection[str]) -> bool:
    """Return whether *path* is one of *folders*, or inside of one."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def writable(root: str, service: Service, allowed: Sequence[str]) -> Iterator[str]:
    """Yield each path below *root* that *service* could write to and that is not *allowed*."""
    device = os.lstat(root).st_dev
    prefix = len(root.rstrip("/"))
    pending = [root]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                path = entry.path[prefix:]
                if below(path, allowed):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # a process's own temporary file
                    continue
                if status.st_dev != device or stat.S_ISLNK(status.st_mode):
                    continue
                if service.can_write(status):
                    yield path
                if stat.S_ISDIR(status.st_mode):
                    pending.append(entry.path)


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory as it is, or is to be."""

    mode: int
    uid: int
    gid: int

    def shown(self, path: str) -> str:
        """The directory as a line of a diff."""
        return f"{self.mode:04o} {self.uid}:{self.gid} {path}\n"


def wanted(item: Mapping[str, Any]) -> Directory:
    """Return the directory that *item* asks for; raises DriverError for what is no number."""
    uid, _colon, gid = str(item["owner"]).partition(":")
    try:
        return Directory(int(str(item["mode"]), 8), int(uid), int(gid))
    except ValueError as error:
        raise DriverError(
            f"The state {item['path']} has the owner {item['owner']!r} and the mode "
            f"{item['mode']!r}; write them like '33:33' and '0750'."
        ) from error


def observe(path: str) -> Directory | None:
    """Return the directory at *path*, None when there is nothing; raises DriverError for a file."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(status.st_mode):
        raise DriverError(f"The state {path} is no directory in the image.")
    return Directory(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def put(path: str, directory: Directory) -> None:
    """Make *directory* true at *path*."""
    os.makedirs(path, mode=0o755, exist_ok=True)
    os.chown(path, directory.uid, directory.gid)
    os.chmod(path, directory.mode)


def body(module: AnsibleModule) -> Mapping[str, Any]:
    """Make the directories, then look for what else can be written."""
    parameters = module.params
    changed: list[str] = []
    before: list[str] = []
    after: list[str] = []
    for item in parameters["paths"] if parameters["create"] else ():
        path, directory = str(item["path"]), wanted(item)
        if below(path, ELSEWHERE):
            continue
        found = observe(path)
        if found == directory:
            continue
        changed.append(path)
        before.append(found.shown(path) if found else "")
        after.append(directory.shown(path))
        if not module.check_mode:
            put(path, directory)
    if parameters["check"]:
        state = [str(item["path"]) for item in parameters["paths"]]
        refuse(parameters["user"], [*state, *parameters["allowed"], *ALWAYS_ALLOWED])
    return {
        "changed": bool(changed),
        "paths": changed,
        "diff": {"before": "".join(before), "after": "".join(after)},
    }


def refuse(user: str, allowed: Sequence[str]) -> None:
    """Raise DriverError when *user* could write to more than *allowed*."""
    found = sorted(writable("/", find_service(user), allowed))
    if not found:
        return
    shown = ", ".join(found[:SHOWN])
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise DriverError(
        f"{user or 'Everybody'} could write to {shown}{more}, which the image does not declare "
        "as state.",
        hint="Declare them in the definition's state, take the permission away in the role that "
        "made them, or name them in state_allowed.",
        details={"paths": found},
    )


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "paths": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "kind": {"type": "str", "choices": ["volume", "tmpfs"], "default": "volume"},
                    "owner": {"type": "str", "default": "0:0"},
                    "mode": {"type": "str", "default": "0755"},
                },
            },
            "user": {"type": "str", "default": ""},
            "create": {"type": "bool", "default": True},
            "check": {"type": "bool", "default": True},
            "allowed": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
