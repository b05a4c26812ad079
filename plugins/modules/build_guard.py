#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: build_guard
short_description: Refuse a host that is not being baked
version_added: 0.1.0
description:
  - Passes on a host that is being baked by this collection, by Packer (provisioners C(ansible) and
    C(ansible-local)), by Molecule or in a chroot, and fails on any other.
  - Looks at the variables and the environment of the controller first; a host that nothing
    speaks for is refused without being contacted. Otherwise one command is run on it.
  - Needs no Python on the target.
  - Fails with C(run_once), where the answer of one host would count for all.
options: {}
attributes:
  check_mode:
    description: Can run in check mode, and gives the same answer there.
    support: full
author:
  - kiln.immutable contributors (@kiln-immutable)
"""

EXAMPLES = r"""
- name: Refuse a host that is not being baked
  kiln.immutable.build_guard:
  tags: [always]
"""

RETURN = r"""
host:
  description: The inventory name of the host that may be changed.
  returned: when it is being baked
  type: str
way:
  description: How it is baked, one of C(bake), C(packer), C(packer-local), C(molecule), C(chroot).
  returned: when it is being baked
  type: str
"""
