#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: lock_write
short_description: Writes the lock of an image
version_added: 0.1.0
description:
  - Writes C(NAME.lock.yml) beside the definition, from what the base and the layers of a bake
    installed, and removes the build container.
  - The packages themselves are in the package pool of the home.
  - A step of C(kiln.immutable.refresh); it cannot be used elsewhere.
author: kiln.immutable contributors (@kiln-immutable)
attributes:
  check_mode:
    support: none
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: none
    description: Shows what changed.
"""

EXAMPLES = r"""
- name: Write the lock
  kiln.immutable.lock_write:
"""

RETURN = r"""
lock:
  description: The path of the lock.
  returned: success
  type: str
packages:
  description: How many packages it pins.
  returned: success
  type: int
changes:
  description: Name, old version, new version and suite of each package that moved.
  returned: success
  type: list
  elements: list
"""
