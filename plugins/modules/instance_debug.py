#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_debug
short_description: Makes a copy of an instance to look into
version_added: 0.2.0
description:
  - Starts another container of the same version, with the same settings and a copy of the
    instance's volumes, so that a fault can be looked into without touching what serves.
  - The copy has none of the group's labels and no published port, so no balancer sends to it; its
    network reaches nothing. It does not get what the instance has in memory, such as secrets.
  - Each run removes the copies whose time is over, of any instance on that engine.
author: kiln.immutable contributors (@kiln-immutable)
options:
  instance:
    description: Name or ID of the container. Without it O(state=absent) removes all.
    type: str
  host:
    description: The engine that it runs on, as C(DOCKER_HOST) has it. By default the client's own.
    type: str
  state:
    description: V(absent) removes the instance's copies with their volumes.
    type: str
    choices: [present, absent]
    default: present
  hours:
    description: After how many hours it may be removed.
    type: float
    default: 8
  network:
    description: V(none), or V(internal) to be able to speak to it from the engine's host.
    type: str
    choices: [none, internal]
    default: none
  command:
    description: What is to run in it instead, such as C(sleep, infinity).
    type: list
    elements: str
  pause:
    description: Let the instance stand still while its volumes are copied, for a consistent copy.
    type: bool
    default: false
  mirror:
    description: Archive to make the toolbox from, when it is not there. By default
      C(kiln_toolbox_mirror), or mmdebstrap's own choice.
    type: str
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: full
    description: Shows what changed.
seealso:
  - module: kiln.immutable.instance_group_drift
"""

EXAMPLES = r"""
- name: Look into the instance that answers slowly
  kiln.immutable.instance_debug:
    instance: kiln-shop-2
    network: internal
    hours: 2
  register: look

- name: Done
  kiln.immutable.instance_debug:
    instance: kiln-shop-2
    state: absent
"""

RETURN = r"""
container:
  description: Name of the copy; none in check mode and when none was asked for.
  returned: success
  type: str
volumes:
  description: Its volumes by the paths at which it sees them.
  returned: success
  type: dict
shell:
  description: The command that opens a shell in it.
  returned: when a copy was made
  type: str
removed:
  description: Copies that were removed.
  returned: success
  type: list
  elements: str
"""
