#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: bake_failed
short_description: Notes why an image failed and keeps its container when asked
version_added: 0.1.0
description:
  - Called in the rescue of a bake. Without O(keep) the build container is removed.
author: kiln.immutable contributors (@kiln-immutable)
options:
  task:
    description: Name of the task that failed.
    type: str
  result:
    description: The result of the task that failed.
    type: dict
  keep:
    description:
      - Keep the build container under the name C(kiln-failed-IMAGE),
        instead of an older one of the same image.
    type: bool
    default: false
attributes:
  check_mode:
    support: none
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: none
    description: Shows what changed.
"""

EXAMPLES = r"""
- name: Note the failure
  kiln.immutable.bake_failed:
    task: "{{ ansible_failed_task.name }}"
    result: "{{ ansible_failed_result }}"
    keep: true
"""

RETURN = r"""
message:
  description: The failing task's own message.
  returned: success
  type: str
shell:
  description: The command that opens a shell in the kept container.
  returned: when it was kept
  type: str
"""
