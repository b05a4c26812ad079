#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build leaves behind, taken away in one walk."""

from __future__ import annotations

DOCUMENTATION = r"""
module: root_residue
short_description: Remove what a build left in a root file system
version_added: 0.1.0
description:
  - Walks the root file system once and removes or empties what module_utils/build/residue.py
    lists; logs, host keys, histories, temporary files, compiled Python without a source.
  - Other mounts are left alone, so the shared package archives of a bake stay.
  - Then, without Python, removes Debian's Python packages, the build user and Ansible's own
    directory. These go last, because this module may run in that Python and as that user.
options:
  python:
    description:
      - What happens to Debian's Python. With C(remove) its packages, and the libraries that only
        they needed, are purged. It is an error when something else that was installed on purpose
        needs them.
    type: str
    choices: [remove, keep]
    default: remove
  build_user:
    description: An account that only the build needed; it is removed with its home.
    type: str
    default: ""
  keep:
    description: Patterns (fnmatch, relative to the root) of paths that stay whatever they are.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says what would be removed and removes nothing.
    support: full
  diff_mode:
    description: Lists the paths that are removed or emptied, with the reason.
    support: full
author:
  - kiln.immutable contributors (@kiln-immutable)
"""

EXAMPLES = r"""
- name: Leave nothing of the build
  kiln.immutable.root_residue:
    build_user: packer
"""

RETURN = r"""
removed:
  description: Paths that were removed, relative to the root.
  returned: always
  type: list
  elements: str
emptied:
  description: Files that were emptied, relative to the root.
  returned: always
  type: list
  elements: str
packages:
  description: The packages of Python, and those that only they needed, that were removed.
  returned: always
  type: list
  elements: str
build_user:
  description: The build user that was removed, or an empty string.
  returned: always
  type: str
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.build.python_removal import plan_removal
from ..module_utils.build.residue import SEALED, Matcher
from ..module_utils.build.sweep import apply_finding, find_residue, running_paths
from ..module_utils.core.command import run
from ..module_utils.core.module import run_module


def body(module: AnsibleModule) -> Mapping[str, Any]:
    """Plan the removal of Python, which may refuse, and only then sweep."""
    root = Path("/")
    packages = plan_removal(root, run) if module.params["python"] == "remove" else ()
    user = str(module.params["build_user"])
    accounts = (root / "etc/passwd").read_text().splitlines()
    user = user if any(line.startswith(f"{user}:") for line in accounts) else ""
    findings = find_residue(
        root,
        Matcher.of(SEALED),
        keep=module.params["keep"],
        spare=running_paths(__file__, sys.argv[0]),
    )
    if not module.check_mode:
        for finding in findings:
            apply_finding(root, finding)
    removed = [finding.path for finding in findings if not finding.emptied]
    return {
        "changed": bool(findings or packages or user),
        "removed": removed,
        "emptied": [finding.path for finding in findings if finding.emptied],
        "packages": list(packages),
        "build_user": user,
        "diff": {
            "before": "".join(f"{finding.path}: {finding.reason}\n" for finding in findings)
            + "".join(f"package {name}\n" for name in packages)
            + (f"account {user}\n" if user else ""),
            "after": "",
        },
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "python": {"type": "str", "choices": ["remove", "keep"], "default": "remove"},
            "build_user": {"type": "str", "default": ""},
            "keep": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
