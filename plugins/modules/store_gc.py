#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: store_gc
short_description: Removes what nothing needs from a home and from the engine
version_added: 0.1.0
description:
  - Removes records of bases and layers that were of no use for I(cache_days), and the blobs that no
    version of the catalog, no tag and no remaining record leads to.
  - Waits until no bake goes on, and keeps new ones waiting for the moment that it takes. It may be
    killed at any time.
  - Removes images for build containers that nothing uses from the engine, and toolboxes that this
    home did not use for O(cache_days). The images of versions
    are left alone.
  - The home is that of the variable C(kiln_home), as for the bake.
author: kiln.immutable contributors (@kiln-immutable)
options:
  cache_days:
    description: Days after which a base or layer that no bake used may go.
    type: float
    default: 30
  wait:
    description: Seconds to wait for bakes that go on. When they are over it fails.
    type: float
    default: 600
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: full
    description: Shows what changed.
seealso:
  - module: kiln.immutable.store_fsck
"""

EXAMPLES = r"""
- name: Remove what no version needs and no bake used for a week
  kiln.immutable.store_gc:
    cache_days: 7
"""

RETURN = r"""
removed:
  description: What was removed, in check mode what would be.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: C(record), C(blob) or C(leftover), which is a file that a killed process left.
      type: str
    label:
      description: What it is.
      type: str
    bytes:
      description: Its size.
      type: int
bytes:
  description: What this frees in the home.
  returned: success
  type: int
images:
  description: Names that were taken from the engine.
  returned: success
  type: list
  elements: str
"""
