#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All kernel parameters of an image, in one file that nothing contradicts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sysctl_settings
short_description: Write kernel parameters as one drop-in file
version_added: 0.2.0
description:
  - Writes all settings into one file of sysctl.d(5), which the booting machine reads. The running
    kernel is not touched, because it is the build machine's.
  - A line of C(/etc/sysctl.conf) or of another file in C(/etc/sysctl.d) that sets one of the same
    parameters goes, so that there is one answer.
options:
  settings:
    description: Parameters and their values. An empty mapping takes the file away.
    type: dict
    required: true
  path:
    description: The file. Of several files the last one counts, in the order of their names.
    type: path
    default: /etc/sysctl.d/99-zz-kiln.conf
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
- name: Hide kernel addresses
  kiln.immutable.sysctl_settings:
    settings:
      kernel.kptr_restrict: 2
      kernel.dmesg_restrict: 1
"""

RETURN = r"""
settings:
  description: The parameters that changed, each with its old and new value.
  returned: always
  type: list
  elements: str
"""

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.files import write_whole
from ..module_utils.core.module import run_module

_SETTING = re.compile(r"\s*-?\s*([^#;\s=][^\s=]*)\s*=\s*(.*?)\s*$")


def parse(text: str) -> dict[str, str]:
    """Return what the lines of sysctl.d(5) set."""
    found = (_SETTING.match(line) for line in text.splitlines())
    return {canonical(one[1]): one[2] for one in found if one}


def canonical(name: str) -> str:
    """Return *name* with points between its parts, where a slash may stand too."""
    first = re.search(r"[./]", name)
    if first and first[0] == "/":
        return name.translate(str.maketrans("./", "/."))
    return name


def render(settings: Mapping[str, str]) -> str:
    """Return the file that sets *settings*, sorted."""
    return "".join(f"{name} = {value}\n" for name, value in sorted(settings.items()))


def without(text: str, names: Collection[str]) -> str:
    """Return *text* without the lines that set one of *names*."""
    kept = []
    for line in text.splitlines(keepends=True):
        found = _SETTING.match(line)
        if found is None or canonical(found[1]) not in names:
            kept.append(line)
    return "".join(kept)


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return a line for each parameter whose value differs."""
    return [
        f"{name}: {before.get(name, 'unset')} -> {after.get(name, 'unset')}"
        for name in sorted({**before, **after})
        if before.get(name) != after.get(name)
    ]


def _others(path: Path) -> list[Path]:
    files = [Path("/etc/sysctl.conf"), *sorted(Path("/etc/sysctl.d").glob("*.conf"))]
    # 99-sysctl.conf is a link to the first.
    return [one for one in files if one != path and one.is_file() and not one.is_symlink()]


def body(module: AnsibleModule) -> Mapping[str, Any]:
    """Write the file, and take its parameters out of the others."""
    path = Path(module.params["path"])
    settings = {canonical(str(key)): str(value) for key, value in module.params["settings"].items()}
    texts = {one: one.read_text() for one in _others(path)}
    before = {path: path.read_text() if path.is_file() else "", **texts}
    after = {path: render(settings)}
    after.update({one: without(text, settings) for one, text in texts.items()})
    changed = [one for one in before if before[one] != after[one]]
    if not module.check_mode:
        for one in changed:
            if one == path and not settings:
                os.unlink(path)
            else:
                one.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                write_whole(one, after[one].encode())
    return {
        "changed": bool(changed),
        "settings": changes(parse(before[path]), settings),
        "diff": [
            {
                "before_header": str(one),
                "after_header": str(one),
                "before": before[one],
                "after": after[one],
            }
            for one in changed
        ],
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            "path": {"type": "path", "default": "/etc/sysctl.d/99-zz-kiln.conf"},
        },
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
