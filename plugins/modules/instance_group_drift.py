#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_group_drift
short_description: Tells in what running instances differ from the version that they should be
version_added: 0.2.0
description:
  - Compares each instance with the manifest that the bake of its version made, and with the
    settings that it should run with. It finds files that were changed, added or removed (by
    content, type, mode, owner, target, device number, capability and attribute), packages,
    processes that run deleted, replaced or foreign programs or were started from outside, mounts
    that nobody declared, another image, and changed settings.
  - Nothing is installed in instances. A container of its own, made from a toolbox, reads them for
    about a second through the kernel, and has the right to read and nothing else. An instance
    that does not run is read from its engine's export.
  - Declared state is left out. What the engine itself puts into each container must be just that.
  - An instance that cannot be read is an error, never a clean one.
author: kiln.immutable contributors (@kiln-immutable)
options:
  group:
    description:
      - File with the definition of an instance group, or the definition itself. All its instances
        are compared, each with the version that it was started from, and their settings with the
        definition's. Rules of its C(drift.ignore) count too.
    type: raw
  instances:
    description: Names or IDs of containers; of a group, those that are looked at.
    type: list
    elements: str
  label:
    description: All containers with this label, C(KEY) or C(KEY=VALUE).
    type: str
  host:
    description: The engine that they run on, as C(DOCKER_HOST) has it. By default the client's own.
    type: str
  image:
    description: Name of the image that they should be of. By default what its label says.
    type: str
  version:
    description: The version that they should be. By default the one whose image they run.
    type: str
  ignore:
    description:
      - Differences that are let pass. Each is listed with its reason, and rules without use too.
      - A rule has one of C(file), C(package), C(process), C(setting) and C(mount) with a pattern,
        and C(reason). In patterns C(*) is any text without a slash and C(**) any text.
    type: list
    elements: dict
  state:
    description: Paths that may be written to, beside those that the image declares.
    type: list
    elements: str
  settings:
    description:
      - Settings that they should run with, by the names that findings have, such as C(memory).
        Those of the image's configuration are compared anyway.
    type: dict
  taint:
    description:
      - Mark drifted instances of the group, so that the next rotation replaces them under the same
        gates; and take our mark from those that are as they should be.
    type: bool
    default: false
  lines:
    description: How many findings of an instance C(table) lists; C(instances) has all.
    type: int
    default: 40
  mirror:
    description: Archive to make the toolbox from, when it is not there. By default
      C(kiln_toolbox_mirror), or mmdebstrap's own choice.
    type: str
  show:
    description: Print C(table) too, as the playbook does.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: full
    description: Shows what changed.
"""

EXAMPLES = r"""
- name: Look at all instances of the shop
  kiln.immutable.instance_group_drift:
    label: com.example.service=shop
    ignore:
      - file: /var/lib/app/*.pid
        reason: The old release writes it there; gone with 2.0.
  register: drift

- name: Have what drifted replaced by the next rotation
  kiln.immutable.instance_group_drift:
    group: groups/shop.yml
    taint: true

- name: Stop when one is not what it should be
  ansible.builtin.fail:
    msg: "{{ drift.table | join('\n') }}"
  when: drift.drifted | length > 0
"""

RETURN = r"""
drifted:
  description: Names of the instances that are not what they should be.
  returned: success
  type: list
  elements: str
tainted:
  description: Names of the instances that were marked, or would be in check mode.
  returned: success
  type: list
  elements: str
table:
  description: What was found as lines that a person reads.
  returned: success
  type: list
  elements: str
instances:
  description: What was found, by instance.
  returned: success
  type: list
  elements: dict
  contains:
    instance:
      description: Its name.
      type: str
    version:
      description: What it should be, image and number.
      type: str
    drifted:
      description: Whether it is something else.
      type: bool
    summary:
      description: The findings counted.
      type: str
      sample: 3 files, 1 process
    findings:
      description: Each difference.
      type: list
      elements: dict
      contains:
        kind:
          description: image, setting, mount, file, package or process.
          type: str
        subject:
          description: A path, or the name of a package or setting.
          type: str
        how:
          description: added, removed or changed; of processes deleted, replaced, foreign, entered.
          type: str
        detail:
          description: What is different, in words.
          type: str
    ignored:
      description: Differences that a rule lets pass, with C(reason) beside what a finding has.
      type: list
      elements: dict
    unused_rules:
      description: Rules that let nothing pass.
      type: list
      elements: dict
    unseen:
      description: What was not looked at, and why.
      type: list
      elements: str
"""
