#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Tells what the catalog knows of images
version_added: 0.2.0
description:
  - Reads versions, channels with their history, revocations and what runs where.
author: kiln.immutable contributors (@kiln-immutable)
options:
  image:
    description: A name, or a list of them; all by default.
    type: raw
  version:
    description: Only this version, a number or the name of a channel.
    type: str
  limit:
    description: How many versions of each image to tell, the newest first. V(0) is all.
    type: int
    default: 10
  pull:
    description: Take over what the catalog's remote has before.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: none
    description: Shows what changed.
seealso:
  - module: kiln.immutable.image_status
"""

EXAMPLES = r"""
- name: See what is in production
  kiln.immutable.image_info:
    image: web
    version: prod
  register: web
"""

RETURN = r"""
channels:
  description: The channels that there are, in the order of promotion.
  returned: success
  type: list
  elements: str
images:
  description: What is known of each image.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    newest:
      description: Number of its newest version.
      type: str
    count:
      description: How many versions there are.
      type: int
    channels:
      description: By name, the version, since when, by whom, why, and the history.
      type: dict
    revoked:
      description: Revocations by number, those too whose time has not come.
      type: dict
    versions:
      description: Records of versions, the channels that point to them, why they are revoked.
      type: list
      elements: dict
    groups:
      description: The instance groups that run it.
      type: list
      elements: dict
"""
