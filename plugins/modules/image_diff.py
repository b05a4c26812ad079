#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: image_diff
short_description: Tells in what two versions of an image differ
version_added: 0.2.0
description:
  - Compares packages, files, layers, configuration, and what checks such as a hardening scan found.
  - Of packages that were upgraded it gives the headlines of the Debian changelog, from the image
    where it kept them, or else from the package in the pool of a locked bake.
  - Both versions must be in the store. Nothing is changed.
author: kiln.immutable contributors (@kiln-immutable)
extends_documentation_fragment:
  - kiln.immutable.foreseeable
options:
  image:
    description: Name of the image.
    type: str
    required: true
  before:
    description: A number or a channel. By default the version before I(after).
    type: str
  after:
    description: A number or a channel. By default the newest version.
    type: str
  files:
    description: How many files C(table) lists; C(files) has all.
    type: int
    default: 40
  show:
    description: Print C(table) too, as the playbook does.
    type: bool
    default: false
seealso:
  - module: kiln.immutable.image_info
"""

EXAMPLES = r"""
- name: See what a promotion would bring
  kiln.immutable.image_diff:
    image: web
    before: prod
    after: staging
"""

RETURN = r"""
before:
  description: Number of the one version.
  returned: success
  type: str
after:
  description: Number of the other.
  returned: success
  type: str
same:
  description: Whether they are the same bytes.
  returned: success
  type: bool
table:
  description: The difference as lines that a person reads.
  returned: success
  type: list
  elements: str
packages:
  description: Packages that differ.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name and architecture.
      type: str
    how:
      description: added, removed, upgraded, downgraded or changed.
      type: str
    before:
      description: As it was; none when it was not there.
      type: str
    after:
      description: As it is; none when it is not there.
      type: str
    headlines:
      description: Of a package, what its changelog says of the versions between.
      type: list
      elements: str
files:
  description: Files that differ; their times are not looked at.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its path.
      type: str
    how:
      description: added, removed, upgraded, downgraded or changed.
      type: str
    before:
      description: As it was; none when it was not there.
      type: str
    after:
      description: As it is; none when it is not there.
      type: str
    headlines:
      description: Of a package, what its changelog says of the versions between.
      type: list
      elements: str
layers:
  description: Layers that differ, with size and digest.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The layer's name.
      type: str
    how:
      description: added, removed, upgraded, downgraded or changed.
      type: str
    before:
      description: As it was; none when it was not there.
      type: str
    after:
      description: As it is; none when it is not there.
      type: str
    headlines:
      description: Of a package, what its changelog says of the versions between.
      type: list
      elements: str
config:
  description: Settings that differ.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The setting.
      type: str
    how:
      description: added, removed, upgraded, downgraded or changed.
      type: str
    before:
      description: As it was; none when it was not there.
      type: str
    after:
      description: As it is; none when it is not there.
      type: str
    headlines:
      description: Of a package, what its changelog says of the versions between.
      type: list
      elements: str
checks:
  description: Results of checks that differ.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: What was checked.
      type: str
    how:
      description: added, removed, upgraded, downgraded or changed.
      type: str
    before:
      description: As it was; none when it was not there.
      type: str
    after:
      description: As it is; none when it is not there.
      type: str
    headlines:
      description: Of a package, what its changelog says of the versions between.
      type: list
      elements: str
"""
