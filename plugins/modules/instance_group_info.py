#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_group_info
short_description: Tells what instance groups run
version_added: 0.2.0
description:
  - With O(group), asks the group's backend for its instances, what it ran before, the rotation that
    goes on, and what a rotation would do now.
  - Without it, gives what the catalog knows of all groups.
author: kiln.immutable contributors (@kiln-immutable)
options:
  group:
    description:
      - Path of the group's definition on the controller, or the definition itself as a mapping.
      - The keys are those of a definition's file; see the guide on instance groups.
    type: raw
  version:
    description: Run this version, whatever the definition says.
    type: str
  channel:
    description: Run what this channel points to, whatever the definition says.
    type: str
  size:
    description: Run so many instances, whatever the definition says.
    type: int
  show:
    description: Print the plan, or each decision, while it works.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: none
    description: Shows what changed.
seealso:
  - module: kiln.immutable.instance_group
"""

EXAMPLES = r"""
- name: Look at a group
  kiln.immutable.instance_group_info:
    group: groups/web.yml
  register: web

- name: List all groups that the catalog knows of
  kiln.immutable.instance_group_info:
"""

RETURN = r"""
groups:
  description: What the catalog knows of each group.
  returned: without O(group)
  type: list
  elements: dict
group:
  description: Name of the group.
  returned: with O(group)
  type: str
instances:
  description: Each instance with its version, health and traffic.
  returned: with O(group)
  type: list
  elements: dict
hosts:
  description: The engines of the group.
  returned: with O(group)
  type: list
  elements: dict
current:
  description: The version that the group runs, since when, and its definition of then.
  returned: with O(group)
  type: dict
previous:
  description: What it ran before, the last first.
  returned: with O(group)
  type: list
  elements: dict
rotation:
  description: >-
    The rotation that goes on or was left; V(waits_for) is the approval that it waits for.
  returned: with O(group)
  type: dict
lock:
  description: Who changes the group at this moment.
  returned: with O(group)
  type: dict
journal:
  description: Path of the group's journal on the controller.
  returned: with O(group)
  type: str
pending:
  description: Whether a rotation would change anything.
  returned: with O(group)
  type: bool
table:
  description: The same as lines that a person reads.
  returned: success
  type: list
  elements: str
"""
