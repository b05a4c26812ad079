#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: image_promote
short_description: Lets a channel of an image point to a version
version_added: 0.2.0
description:
  - Moves a channel such as C(prod) to a version, as a commit in the catalog that says who did it,
    what and why. With a remote, what others did meanwhile is taken into account.
  - A version that is revoked, that is built on a revoked one, or that fails a rule of the channel's
    policy is refused, with every rule that fails.
  - The name C(kiln/IMAGE:CHANNEL) in the engine follows.
  - The home is that of the variable C(kiln_home), the remote that of C(kiln_catalog_remote), as for
    the bake.
author: kiln.immutable contributors (@kiln-immutable)
extends_documentation_fragment:
  - kiln.immutable.foreseeable
options:
  image:
    description: Name of the image.
    type: str
    required: true
  version:
    description:
      - Number of the version.
      - By default what the channel before I(channel) points to, or, for the first channel, the
        newest version that is not revoked.
    type: str
  channel:
    description:
      - The channel to move. By default the one after the last that the version has reached.
    type: str
  expected:
    description: Refuse unless the channel points to this version now.
    type: str
  reason:
    description: Why. It is part of the commit and of the channel's history.
    type: str
    required: true
seealso:
  - module: kiln.immutable.image_revoke
  - module: kiln.immutable.image_info
"""

EXAMPLES = r"""
- name: Give everyone the version that staging has
  kiln.immutable.image_promote:
    image: web
    channel: prod
    reason: Two days on staging without an error
"""

RETURN = r"""
image:
  description: Name of the image.
  returned: success
  type: str
version:
  description: The version that the channel points to.
  returned: success
  type: str
  sample: 1.0.3
channel:
  description: The channel.
  returned: success
  type: str
  sample: prod
previous:
  description: The version that it pointed to before, none when there was none.
  returned: success
  type: str
moved:
  description: Whether the channel moved.
  returned: success
  type: bool
steps_back:
  description: Whether the version is older than the one before.
  returned: success
  type: bool
failures:
  description: A sentence for each rule that the version fails.
  returned: when it may not be promoted
  type: list
  elements: str
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
