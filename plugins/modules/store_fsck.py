#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: store_fsck
short_description: Verifies every blob and every reference of a home, and mends what it can
version_added: 0.1.0
description:
  - Reads every blob of the store and compares it with its digest; follows every version of the
    catalog, every tag and every record of the cache to the blobs that it names.
  - Damaged blobs are moved to C(store/quarantine). Records and tags that lead to what is not there
    are dropped, so that the next bake makes it again. Versions are never touched.
  - The home is that of the variable C(kiln_home), as for the bake.
  - In check mode it only looks, and bakes may go on. To mend, it waits until none does.
author: kiln.immutable contributors (@kiln-immutable)
options:
  wait:
    description: Seconds to wait for bakes that go on, before anything is mended.
    type: float
    default: 600
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: none
    description: Shows what changed.
seealso:
  - module: kiln.immutable.store_gc
"""

EXAMPLES = r"""
- name: Verify the store, and mend what can be mended
  kiln.immutable.store_fsck:
  register: kiln_fsck
"""

RETURN = r"""
catalog:
  description: What is wrong with the catalog, a sentence each. It is only said, never mended.
  returned: success
  type: list
  elements: str
problems:
  description: What is not as it should be.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: C(blob) or C(record).
      type: str
    subject:
      description: A digest, or the name of a record.
      type: str
    sentence:
      description: What is wrong with it and what needs it.
      type: str
    needed_by:
      description: The versions, tags and records that need a blob.
      type: list
      elements: str
quarantined:
  description: Digests of the damaged blobs, which are in RV(quarantine) outside of check mode.
  returned: success
  type: list
  elements: str
records:
  description: Files of the records that are dropped.
  returned: success
  type: list
  elements: str
tags:
  description: Names in the store's index that led to nothing and are dropped.
  returned: success
  type: list
  elements: str
incomplete:
  description: Versions of the catalog that lack a blob. Baking them again may bring it back.
  returned: success
  type: list
  elements: str
  sample: [web 1.0.1]
blobs:
  description: How many blobs there are.
  returned: success
  type: int
bytes:
  description: Their bytes, all together.
  returned: success
  type: int
quarantine:
  description: The folder of damaged blobs.
  returned: success
  type: str
"""
