#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: bake_open
short_description: Opens the build container of an image
version_added: 0.1.0
description:
  - Makes the base and the toolkit if they are not there, restores the layers that the cache has,
    starts the build container and writes the tasks of the layers that must run.
  - Waits for the image that this one is based on. Sets the facts of the image, which are never
    those of the machine that bakes.
author: kiln.immutable contributors (@kiln-immutable)
options: {}
attributes:
  check_mode:
    support: none
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: none
    description: Shows what changed.
"""

EXAMPLES = r"""
- name: Open the build container
  kiln.immutable.bake_open:
  register: kiln_opened
"""

RETURN = r"""
tasks:
  description: Path of the tasks to include.
  returned: success
  type: str
pending:
  description: Names of the layers that must run.
  returned: success
  type: list
  elements: str
restored:
  description: Names of the layers that came from the cache.
  returned: success
  type: list
  elements: str
container:
  description: Name of the build container.
  returned: success
  type: str
"""
