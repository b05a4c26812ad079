#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_group_rollback
short_description: Lets a group go back to a version that it ran
version_added: 0.2.0
description:
  - Rotates to a version that the group ran before, with the definition that it had then, surge
    first. What serves is taken away only when its successor serves.
  - Canary steps, gates, bake time and hooks of the policy are left out. Health checks, bounds, the
    deadline and the rules of the channel hold.
  - When it fails, things stay as they are.
author: kiln.immutable contributors (@kiln-immutable)
options:
  group:
    description:
      - Path of the group's definition on the controller, or the definition itself as a mapping.
      - The keys are those of a definition's file; see the guide on instance groups.
    type: raw
    required: true
  to:
    description: Number or digest of the version. By default the one before the current one.
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
  - module: kiln.immutable.instance_group
"""

EXAMPLES = r"""
- name: Go back to what ran before
  kiln.immutable.instance_group_rollback:
    group: groups/web.yml

- name: Go back to a version that ran some time ago
  kiln.immutable.instance_group_rollback:
    group: groups/web.yml
    to: 1.0.2
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
"""
