#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_group
short_description: Lets a group run a version, by replacing its instances
version_added: 0.2.0
description:
  - Replaces the instances of a group by instances of the wanted version, as the policy of the
    group's definition says. Nothing that runs is modified.
  - Instances that drifted, that are too old or whose settings changed are replaced too, and the
    group is scaled to its size, all on the same path.
  - The task fails unless the group runs what was asked for in the end. A rotation that fails is
    rolled back, paused or stopped, as the policy says.
  - An operator's process that was killed is no harm. Running the same task again goes on.
  - A backend that cannot honour what the definition asks for refuses it, naming the line.
author: kiln.immutable contributors (@kiln-immutable)
options:
  group:
    description:
      - Path of the group's definition on the controller, or the definition itself as a mapping.
      - The keys are those of a definition's file; see the guide on instance groups.
    type: raw
    required: true
  version:
    description: Run this version, whatever the definition says.
    type: str
  channel:
    description: Run what this channel points to, whatever the definition says.
    type: str
  size:
    description: Run so many instances, whatever the definition says.
    type: int
  save:
    description: Only plan, and write the plan to this file on the controller.
    type: path
  apply:
    description: Rotate only when the plan in this file is still the one that would be made.
    type: path
  approve:
    description:
      - Only approve, for the rotation that goes on in another terminal. The name of the gate or of
        the canary step, such as V(25%), or V(waiting) for what it waits for now.
    type: str
  abort:
    description: Only tell the rotation that goes on in another terminal to end, and why.
    type: str
  break_lock:
    description: Take the group's lock from whoever has it.
    type: bool
    default: false
  show:
    description: Print the plan, or each decision, while it works.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: full
    description: Shows what changed.
seealso:
  - module: kiln.immutable.instance_group_info
  - module: kiln.immutable.instance_group_rollback
"""

EXAMPLES = r"""
- name: Let the group run what its channel points to
  kiln.immutable.instance_group:
    group: groups/web.yml

- name: Look at a rotation before it is done
  kiln.immutable.instance_group:
    group: groups/web.yml
    version: 1.0.4
    save: web.plan.json

- name: Do it, if nothing has moved since
  kiln.immutable.instance_group:
    group: groups/web.yml
    version: 1.0.4
    apply: web.plan.json

- name: Approve the canary that waits in another terminal
  kiln.immutable.instance_group:
    group: groups/shop.yml
    approve: waiting
"""

RETURN = r"""
group:
  description: Name of the group.
  returned: success
  type: str
version:
  description: Number of the version that is wanted.
  returned: success
  type: str
plan:
  description: What becomes of each instance, the steps, the lowest capacity and the highest count.
  returned: when a plan was made
  type: dict
table:
  description: The plan as lines that a person reads.
  returned: when a plan was made
  type: list
  elements: str
ending:
  description: >-
    How it ended. V(unchanged) and V(rotated) are what was asked for; with V(rolled_back),
    V(paused), V(stopped) and V(lost) the task fails.
  returned: when something was rotated
  type: str
cause:
  description: >-
    Why it failed, V(release), V(platform), V(deadline), V(gate), V(hook) or V(abort).
  returned: when something was rotated
  type: str
message:
  description: How it ended, in a sentence.
  returned: when something was rotated
  type: str
lowest_capacity:
  description: The fewest instances that were seen serving on the way.
  returned: when something was rotated
  type: int
highest_count:
  description: The most instances that were seen on the way.
  returned: when something was rotated
  type: int
seconds:
  description: How long it took.
  returned: when something was rotated
  type: float
journal:
  description: Path of the group's journal on the controller.
  returned: when something was rotated
  type: str
rotation:
  description: Name of the rotation that was told something.
  returned: with O(approve) and O(abort)
  type: str
"""
