#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: image_revoke
short_description: Takes a version of an image back
version_added: 0.2.0
description:
  - Records in the catalog that a version is not to be used any more, at once or from a time on, who
    said so and why. Versions that are built on it inherit that.
  - A channel that still points to such a version is reported, and moved in the same commit when
    I(move) says where to.
author: kiln.immutable contributors (@kiln-immutable)
extends_documentation_fragment:
  - kiln.immutable.foreseeable
options:
  image:
    description: Name of the image.
    type: str
    required: true
  version:
    description: Number of the version.
    type: str
    required: true
  reason:
    description: Why.
    type: str
    required: true
  at:
    description: When it begins to hold, such as V(2026-08-01T12:00:00Z). At once by default.
    type: str
  move:
    description:
      - Where channels that point to it go. V(back) is the newest version of the channel's own
        history that is not revoked, also for channels of images that inherit.
      - A number is that version of the same image.
      - By default they stay where they are, with a warning.
    type: str
  state:
    description: V(absent) takes the revocation back.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: kiln.immutable.image_promote
"""

EXAMPLES = r"""
- name: Take a version with a leaked key back, and let channels return to the one before
  kiln.immutable.image_revoke:
    image: web
    version: 1.0.3
    reason: The key of the mail relay is in it
    move: back
"""

RETURN = r"""
image:
  description: Name of the image.
  returned: success
  type: str
version:
  description: The version.
  returned: success
  type: str
at:
  description: From when on it is revoked; none when it was already.
  returned: success
  type: str
descendants:
  description: Versions that inherit it.
  returned: success
  type: list
  elements: str
  sample: ["shop 1.0.7"]
channels:
  description: Channels that point to a revoked version, and where they go.
  returned: success
  type: list
  elements: dict
  contains:
    image:
      description: Name of the image.
      type: str
    channel:
      description: Name of the channel.
      type: str
    version:
      description: What it pointed to.
      type: str
    target:
      description: Where it goes, none when it stays.
      type: str
engine:
  description: What was done to names in the engine, in check mode what would be, a sentence each.
  returned: success
  type: list
  elements: str
registry:
  description: What was done to tags in the registry, in check mode what would be, a sentence each.
  returned: success
  type: list
  elements: str
"""
