#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: image_status
short_description: Tells how far behind images are
version_added: 0.2.0
description:
  - Gives a row for each image and channel, and one for the newest version when no channel points to
    it. It tells the age, pending security updates, a newer base, the policy and where it runs.
  - Security updates are found by comparing the packages of the version with the signed index of the
    security archives that its own package sources name. A mirror is enough.
author: kiln.immutable contributors (@kiln-immutable)
options:
  image:
    description: A name, or a list of them; all by default.
    type: raw
  security:
    description: Look for security updates.
    type: bool
    default: true
  security_hours:
    description: For how long the answer of an archive is used again.
    type: float
    default: 1
  keyring:
    description: Keys of the security archives. Debian's own by default.
    type: path
  pull:
    description: Take over what the catalog's remote has before.
    type: bool
    default: true
  show:
    description: Print C(table) too, as the playbook does.
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
  - module: kiln.immutable.image_info
"""

EXAMPLES = r"""
- name: See what should be baked again
  kiln.immutable.image_status:
  register: status

- name: Stop when nothing waits
  ansible.builtin.meta: end_play
  when: status.rebuild | length == 0
"""

RETURN = r"""
rows:
  description: A row for each image and channel.
  returned: success
  type: list
  elements: dict
  contains:
    image:
      description: Its name.
      type: str
    channel:
      description: The channel; none for the newest version when no channel has it.
      type: str
    version:
      description: Number of the version.
      type: str
    newest:
      description: Number of the image's newest version.
      type: str
    age:
      description: Days since it was recorded.
      type: float
    updates:
      description: Packages that have a security update; none when that is not known.
      type: list
      elements: str
      sample: ["libssl3 3.0.16-1~deb12u1 -> 3.0.17-1~deb12u2"]
    unknown:
      description: Why that is not known.
      type: str
    base:
      description: The version of another image that it is built on.
      type: str
    base_newest:
      description: A newer version of that image.
      type: str
    revoked:
      description: Why it is not to be used.
      type: str
    failures:
      description: Rules of the channel that it fails now.
      type: list
      elements: str
    runs:
      description: Instance groups that run it.
      type: list
      elements: str
    needs_rebuild:
      description: Whether updates or a newer base wait.
      type: bool
rebuild:
  description: Names of the images that a new bake would make better.
  returned: success
  type: list
  elements: str
table:
  description: The rows as lines that a person reads.
  returned: success
  type: list
  elements: str
"""
