#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: bake_report
short_description: Sums a bake up
version_added: 0.1.0
description:
  - Prints for each image its version, digest, size, layers and how to run it; fails when an image
    failed, with the failing task's message last.
author: kiln.immutable contributors (@kiln-immutable)
options:
  plan:
    description: What M(kiln.immutable.bake_plan) returned.
    type: dict
    required: true
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: none
    description: Shows what changed.
"""

EXAMPLES = r"""
- name: Sum up
  kiln.immutable.bake_report:
    plan: "{{ kiln_plan }}"
"""

RETURN = r"""
kiln_images:
  description: The images that were baked.
  returned: always
  type: list
  elements: dict
"""
