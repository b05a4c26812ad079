#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: bake_seal
short_description: Seals an image and records its version
version_added: 0.1.0
description:
  - Assembles the OCI image, removes the build container, records the version in the catalog and
    loads the image into the engine.
  - Keeps with the version what is known of it (bills of materials, provenance, what was found in
    its files), and signs all of it when C(kiln_signing_key) or C(kiln_signing_command) is set.
  - The same content gets the version that it has already.
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
- name: Seal the image
  kiln.immutable.bake_seal:
"""

RETURN = r"""
version:
  description: The version's number.
  returned: success
  type: str
  sample: 1.0.3
digest:
  description: Digest of the version's OCI image index.
  returned: success
  type: str
image:
  description: The name that the engine has it under.
  returned: success
  type: str
run:
  description: The command that runs it.
  returned: success
  type: str
report:
  description: Path of the page about the version.
  returned: success
  type: str
findings:
  description: What the scan, goss and Lynis found that the definition asks for, by their names.
  returned: when the definition asks for any
  type: dict
waived:
  description: What the definition waives, each with its reason.
  returned: success
  type: list
  elements: list
  sample: [[control kernel-modules, The application loads one.]]
pushed:
  description: Names of the base and layers that were left in the shared cache of C(kiln_cache_to).
  returned: success
  type: list
  elements: str
found:
  description: What was found in the image's files, by C(secrets), C(fixable) and C(packages).
  returned: success
  type: dict
signed_by:
  description: Digest of the public key that signed it; none when nothing is set to sign with.
  returned: success
  type: str
layers:
  description: A row for each layer.
  returned: success
  type: list
  elements: dict
"""
