#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: image_prune
short_description: Lets versions go that no rule keeps
version_added: 0.2.0
description:
  - Keeps the last versions of each image, the young ones, what channels point to and pointed to
    lately, what instance groups run or ran last, what is pinned or named by a lock, and what any of
    these is built on.
  - The rest goes, from the catalog (where a tombstone keeps the number) to the registry, the engine
    and the store. It may be killed at any time; the next run goes on.
  - A blob goes with the last version that needs it, and a name never takes another along.
author: kiln.immutable contributors (@kiln-immutable)
extends_documentation_fragment:
  - kiln.immutable.foreseeable
options:
  image:
    description: A name, or a list of them, of which versions may go. All by default.
    type: raw
  last:
    description:
      - How many of the newest versions of each image stay. Those that are revoked do not count.
      - By default what C(retention.yml) in the catalog says, or 5.
    type: int
  days:
    description: Versions that were recorded in so many days stay. By default as I(last), or 30.
    type: float
  channel:
    description:
      - How many versions of each channel's history stay, the present one counted. By default as
        I(last), or 3.
    type: int
  keep:
    description: Versions that stay, as C(NAME NUMBER) or as the digest of their index.
    type: list
    elements: str
  images:
    description: Definitions and locks, files or folders. Versions that they name by digest stay.
    type: list
    elements: path
  reason:
    description: Why, for the commit.
    type: str
  cache_days:
    description: Days after which a base or layer that no bake used may go.
    type: float
    default: 30
  wait:
    description: Seconds to wait for bakes that go on, before bytes are removed.
    type: float
    default: 600
  show:
    description: Print C(table) too, as the playbook does.
    type: bool
    default: false
seealso:
  - module: kiln.immutable.store_gc
"""

EXAMPLES = r"""
- name: Keep the last ten versions of each image, and what is in use
  kiln.immutable.image_prune:
    last: 10
    days: 0
"""

RETURN = r"""
versions:
  description: Every version, with the rules that keep it or why it goes, and the bytes that frees.
  returned: success
  type: list
  elements: dict
  sample:
    - image: web
      version: 1.0.1
      keep: false
      rules: ["old, and nothing needs it"]
      bytes: 4211873
pruned:
  description: What went, in check mode what would.
  returned: success
  type: list
  elements: str
bytes:
  description: What going frees, each blob counted once.
  returned: success
  type: int
freed:
  description: What was freed in the home, with other garbage that was found; 0 in check mode.
  returned: success
  type: int
engine:
  description: Names that were taken from the engine.
  returned: success
  type: list
  elements: str
registry:
  description: Manifests that were deleted from the registry.
  returned: success
  type: list
  elements: str
garbage:
  description: What the registry keeps, and why.
  returned: success
  type: list
  elements: str
table:
  description: The plan as lines that a person reads.
  returned: success
  type: list
  elements: str
"""
