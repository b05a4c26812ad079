#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many whole files, directories and links in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: whole_files
short_description: Put many whole files, directories and links in place with one task
version_added: 0.1.0
description:
  - Writes configuration as whole files, so that a role is one task instead of one for each file.
  - Directories above a path are made, owned by root, with mode 0755.
options:
  files:
    description: What is to be there, or not to be there, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path on the target.
        type: path
        required: true
      state:
        description:
          - What is at I(path) afterwards. C(absent) removes files and links, not directories.
        type: str
        choices: [file, directory, link, absent]
        default: file
      content:
        description: The whole content, for I(state=file).
        type: str
        default: ""
      target:
        description: Where the link points to, for I(state=link).
        type: str
        default: ""
      mode:
        description: Permissions in octal; C(0644) for files and C(0755) for directories by default.
        type: str
      owner:
        description: Name of the owner.
        type: str
        default: root
      group:
        description: Name of the group.
        type: str
        default: root
      only_below:
        description:
          - Do nothing unless this directory exists; for files of software that may be absent.
        type: path
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
  diff_mode:
    description: Shows the files before and after.
    support: full
author:
  - kiln.immutable contributors (@kiln-immutable)
"""

EXAMPLES = r"""
- name: Write two drop-ins
  kiln.immutable.whole_files:
    files:
      - path: /etc/apt/apt.conf.d/60kiln
        content: |
          APT::Install-Recommends "false";
      - path: /etc/localtime
        state: link
        target: /usr/share/zoneinfo/Etc/UTC
"""

RETURN = r"""
paths:
  description: The paths that changed.
  returned: always
  type: list
  elements: str
"""

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.errors import DriverError
from ..module_utils.core.files import write_whole
from ..module_utils.core.module import run_module


@dataclass(frozen=True, slots=True)
class Entry:
    """What is at a path: its kind, its permissions and owners, and what it holds."""

    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    content: bytes = b""

    @property
    def shown(self) -> str:
        """The entry as the text of a diff."""
        if self.kind == "absent":
            return ""
        head = f"# {self.kind} {self.mode:04o} {self.uid}:{self.gid}\n"
        return head + self.content.decode("utf-8", "replace")


ABSENT = Entry("absent")
LINK_MODE = 0o777


def observe(path: Path) -> Entry:
    """Return what is at *path* now."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return ABSENT
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        content = os.fsencode(os.readlink(path))
        return Entry("link", LINK_MODE, status.st_uid, status.st_gid, content)
    if stat.S_ISDIR(status.st_mode):
        return Entry("directory", mode, status.st_uid, status.st_gid)
    if stat.S_ISREG(status.st_mode):
        return Entry("file", mode, status.st_uid, status.st_gid, path.read_bytes())
    return Entry("special", mode, status.st_uid, status.st_gid)


def wanted(item: Mapping[str, Any]) -> Entry:
    """Return the entry that the option *item* asks for; names are looked up on this machine."""
    state = str(item["state"])
    if state == "absent":
        return ABSENT
    path = str(item["path"])
    uid, gid = _identity(path, str(item["owner"]), str(item["group"]))
    if state == "link":
        if not item["target"]:
            raise DriverError(f"The link {path} has no target: give it one.")
        return Entry("link", LINK_MODE, uid, gid, os.fsencode(str(item["target"])))
    mode = _mode(path, item["mode"] or ("0755" if state == "directory" else "0644"))
    content = str(item["content"]).encode() if state == "file" else b""
    return Entry(state, mode, uid, gid, content)


def _mode(path: str, text: str) -> int:
    try:
        return int(text, 8)
    except ValueError as error:
        raise DriverError(
            f"The mode {text!r} of {path} is not octal; write it like '0644'."
        ) from error


def _identity(path: str, owner: str, group: str) -> tuple[int, int]:
    try:
        return pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise DriverError(
            f"The owner {owner}:{group} of {path} does not exist on the target.",
            hint="Install the package that makes it in an earlier task.",
        ) from error


def put(path: Path, before: Entry, after: Entry) -> None:
    """Make *after* true at *path*, where *before* is now."""
    if before.kind not in ("absent", after.kind):
        if before.kind == "directory":
            raise DriverError(f"{path} is a directory, so it cannot become a {after.kind}.")
        path.unlink()
    if after.kind == "absent":
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if after.kind == "link":
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        path.symlink_to(os.fsdecode(after.content))
    elif after.kind == "directory":
        path.mkdir(exist_ok=True)
    elif before.kind != "file" or before.content != after.content:
        write_whole(path, after.content, mode=after.mode)
    os.chown(path, after.uid, after.gid, follow_symlinks=False)
    if after.kind != "link":
        path.chmod(after.mode)


def body(module: AnsibleModule) -> Mapping[str, Any]:
    """Bring every entry of the option ``files`` about."""
    changed: list[str] = []
    diff: list[dict[str, str]] = []
    for item in module.params["files"]:
        path = Path(item["path"])
        if item["only_below"] and not Path(item["only_below"]).is_dir():
            continue
        before = observe(path)
        # An account may be made by a package that check mode did not install.
        try:
            after = wanted(item)
        except DriverError:
            if not module.check_mode or before.kind != "absent":
                raise
            after = Entry(str(item["state"]))
        if before == after:
            continue
        changed.append(str(path))
        diff.append(
            {
                "before_header": str(path),
                "after_header": str(path),
                "before": before.shown,
                "after": after.shown,
            }
        )
        if not module.check_mode:
            put(path, before, after)
    return {"changed": bool(changed), "paths": changed, "diff": diff}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "state": {
                        "type": "str",
                        "choices": ["file", "directory", "link", "absent"],
                        "default": "file",
                    },
                    "content": {"type": "str", "default": ""},
                    "target": {"type": "str", "default": ""},
                    "mode": {"type": "str"},
                    "owner": {"type": "str", "default": "root"},
                    "group": {"type": "str", "default": "root"},
                    "only_below": {"type": "path"},
                },
            }
        },
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
