#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: image_sign
short_description: Signs a version and what is attested of it
version_added: 0.1.0
description:
  - Signs the version's index and its container manifest, and each statement that is kept with it,
    where cosign, podman and skopeo look for signatures. Those of other keys stay, so that a second
    person can sign what the bake has signed already.
  - Signs with the key of C(kiln_signing_key), or by C(kiln_signing_command). The signatures are in
    the store of this home; C(image_push) brings them to the registry.
author: kiln.immutable contributors (@kiln-immutable)
extends_documentation_fragment:
  - kiln.immutable.foreseeable
options:
  image:
    description: Name of the image.
    type: str
    required: true
  version:
    description: Number of the version. By default that of O(channel), or the newest.
    type: str
  channel:
    description: Channel whose version is meant.
    type: str
  repository:
    description:
      - Repository that the signature is for, without a tag. Podman compares it with where it
        pulls from. By default that of the image in C(kiln_registry).
    type: str
seealso:
  - module: kiln.immutable.image_verify
  - module: kiln.immutable.signing_key
"""

EXAMPLES = r"""
- name: Sign what is in staging, as the second of two
  kiln.immutable.image_sign:
    image: web
    channel: staging
  vars:
    kiln_signing_key: ~/.config/kiln/release.key
"""

RETURN = r"""
version:
  description: The version's number.
  returned: success
  type: str
digest:
  description: Digest of the version's index.
  returned: success
  type: str
repository:
  description: The repository that the signatures are for.
  returned: success
  type: str
fingerprint:
  description: Digest of the public key of what signed.
  returned: success
  type: str
signatures:
  description: How many signatures were made; 0 when all were there.
  returned: success
  type: int
"""
