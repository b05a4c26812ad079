#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: bake_plan
short_description: Decides which images must be baked and why
version_added: 0.1.0
description:
  - Reads image definitions, computes the key of every layer and compares it with the cache,
    the catalog and the engine.
  - Outside of check mode it opens a session for the images that must be baked; a keeper process
    removes the session's containers should the playbook die.
  - The first task of C(kiln.immutable.bake).
author: kiln.immutable contributors (@kiln-immutable)
options:
  images:
    description:
      - A definition, a folder of definitions, or a list of both.
      - Without it, the definitions of the hosts that the inventory plugin
        P(kiln.immutable.images#inventory) made.
    type: raw
  refresh:
    description: Take nothing from the cache, so that the archive's newer packages are seen.
    type: bool
    default: false
  lock:
    description:
      - What to do with locks. V(use) installs exactly what the lock of an image names, if it has
        one.
      - V(all) and V(security) bake to make a new lock, of everything or with only the security
        updates moved.
    type: str
    choices: [use, all, security]
    default: use
  attest:
    description:
      - Make bills of materials, scans and signatures of versions that are there anew, too. Without
        it that is done when something that is asked for is missing.
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
- name: See what would be baked
  kiln.immutable.bake_plan:
    images: images/
  check_mode: true
"""

RETURN = r"""
images:
  description: The decision about each image, in the order of baking.
  returned: success
  type: list
  elements: dict
  sample:
    - name: web
      action: bake
      reasons: ["nginx: variable nginx_port 8080 -> 8081"]
      restored: 2
      layers: 4
      version: null
build:
  description: The build hosts to add, one for each image to bake.
  returned: success
  type: list
  elements: dict
session:
  description: The session's ID; none when there is nothing to do.
  returned: success
  type: str
"""
