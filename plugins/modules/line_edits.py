#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of files that have no drop-in directory, many of them in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: line_edits
short_description: Set or remove lines in several files at once
version_added: 0.2.0
description:
  - For files that know no drop-in directory; a drop-in file of M(kiln.immutable.whole_files) is
    better where there is one.
  - Owners and modes of the files stay.
options:
  edits:
    description: The edits, in their order.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      match:
        description:
          - A regular expression of Python, searched for in each line.
          - The first line that it finds becomes I(line), the others go. When it finds none,
            I(line) is added.
        type: str
        required: true
      line:
        description: The line that is to stand there; none takes the found lines away.
        type: str
      before:
        description: A regular expression; an added line comes before the first line that it finds.
        type: str
      create:
        description: Make the file when it is not there; otherwise the edit is left out then.
        type: bool
        default: false
attributes:
  check_mode:
    description: Says what would change and changes nothing.
    support: full
  diff_mode:
    description: Shows each file before and after.
    support: full
author:
  - kiln.immutable contributors (@kiln-immutable)
"""

EXAMPLES = r"""
- name: Keep new files from others in interactive shells
  kiln.immutable.line_edits:
    edits:
      - path: /etc/bash.bashrc
        match: ^\s*umask\s
        line: umask 027
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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.errors import DriverError
from ..module_utils.core.files import write_whole
from ..module_utils.core.module import run_module

NEW_MODE = 0o644


def edited(text: str, match: str, line: str | None, before: str | None = None) -> str:
    """Return *text* with *line* in place of what *match* finds; None takes these lines away."""
    wanted, kept, at = re.compile(match), [], None
    for one in text.splitlines():
        if not wanted.search(one):
            kept.append(one)
        elif at is None:
            at = len(kept)
    if line is not None:
        kept.insert(_place(kept, before) if at is None else at, line)
    return "".join(f"{one}\n" for one in kept)


def _place(lines: list[str], before: str | None) -> int:
    if before is not None:
        for number, one in enumerate(lines):
            if re.search(before, one):
                return number
    return len(lines)


def put(path: Path, content: str) -> None:
    """Write *content* to *path*; a file that is there keeps its owner and mode."""
    status = path.stat() if path.exists() else None
    mode = stat.S_IMODE(status.st_mode) if status else NEW_MODE
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_whole(path, content.encode(), mode=mode)
    if status:
        os.chown(path, status.st_uid, status.st_gid)
        path.chmod(mode)


def body(module: AnsibleModule) -> Mapping[str, Any]:
    """Make all edits, each file once."""
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for edit in module.params["edits"]:
        path = edit["path"]
        if path not in before:
            if not Path(path).is_file():
                if not edit["create"]:
                    continue
                before[path] = ""
            else:
                before[path] = Path(path).read_text()
            after[path] = before[path]
        try:
            after[path] = edited(after[path], edit["match"], edit["line"], edit["before"])
        except re.error as error:
            raise DriverError(
                f"The edit of {path} has a match or before that is no regular expression: {error}."
            ) from error
    changed = [path for path in after if after[path] != before[path]]
    if not module.check_mode:
        for path in changed:
            put(Path(path), after[path])
    return {
        "changed": bool(changed),
        "paths": changed,
        "diff": [
            {
                "before_header": path,
                "after_header": path,
                "before": before[path],
                "after": after[path],
            }
            for path in changed
        ],
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "edits": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "match": {"type": "str", "required": True},
                    "line": {"type": "str"},
                    "before": {"type": "str"},
                    "create": {"type": "bool", "default": False},
                },
            }
        },
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
