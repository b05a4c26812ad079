#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: image_verify
short_description: Judges a version by a policy
version_added: 0.1.0
description:
  - Verifies the signatures and attestations of a version, and evaluates a channel's policy, or one
    that is given. Promotion evaluates the same rules by itself.
  - Every rule that fails is told, not only the first.
  - Changes nothing.
author: kiln.immutable contributors (@kiln-immutable)
options:
  image:
    description: Name of the image.
    type: str
    required: true
  version:
    description: Number of the version. By default the one that O(channel) points to, or the newest.
    type: str
  channel:
    description: Channel whose policy counts, when O(policy) is not given.
    type: str
  policy:
    description: Policy to judge by, with the keys of a channel's C(policy) in C(channels.yml).
    type: dict
  required:
    description: Fail when a rule fails. Otherwise RV(passed) tells.
    type: bool
    default: true
  pull:
    description: Take over what the catalog's remote has first.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: none
    description: Shows what changed.
seealso:
  - module: kiln.immutable.image_promote
  - module: kiln.immutable.image_sign
"""

EXAMPLES = r"""
- name: See what keeps 1.0.7 from production
  kiln.immutable.image_verify:
    image: web
    version: 1.0.7
    channel: prod

- name: Ask for one signature, whatever the catalog says
  kiln.immutable.image_verify:
    image: web
    policy:
      signers:
        keys:
          release: "{{ lookup('file', 'release.pub') }}"
"""

RETURN = r"""
passed:
  description: Whether no rule fails.
  returned: always
  type: bool
failures:
  description: A sentence for each rule that fails, which begins with the rule's name.
  returned: always
  type: list
  elements: str
  sample: ["signers: it needs 1 of the signatures of release; it is signed by nobody."]
signers:
  description: Names of the policy's keys that signed the version.
  returned: always
  type: list
  elements: str
attestations:
  description: Predicate types of the statements that are believed, or that nobody signed.
  returned: always
  type: list
  elements: str
version:
  description: The version's number.
  returned: always
  type: str
digest:
  description: Digest of the version's index.
  returned: always
  type: str
"""
