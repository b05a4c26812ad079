#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: signing_key
short_description: Makes a key pair that signs versions
version_added: 0.1.0
description:
  - Makes an ECDSA key on P-256 and writes it as C(cosign generate-key-pair) does, so that either
    program reads the other's keys. The private half is encrypted (scrypt, NaCl secretbox).
  - A key that is there is left as it is; of a key without its public half that half is written.
  - The passphrase comes from a file or from the environment variable E(COSIGN_PASSWORD), never
    from a command line.
author: kiln.immutable contributors (@kiln-immutable)
options:
  path:
    description: File for the private key. The public key is beside it, with the suffix C(.pub).
    type: path
    required: true
  passphrase_file:
    description: File whose first line is the passphrase. By default E(COSIGN_PASSWORD) is taken.
    type: path
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: full
    description: Shows what changed.
seealso:
  - module: kiln.immutable.image_sign
"""

EXAMPLES = r"""
- name: Make the team's key
  kiln.immutable.signing_key:
    path: ~/.config/kiln/release.key
    passphrase_file: /run/secrets/release-passphrase
"""

RETURN = r"""
path:
  description: The private key's file.
  returned: success
  type: str
public_path:
  description: The public key's file.
  returned: success
  type: str
public:
  description: The public key in PEM, as a policy takes it. Not in check mode when it is not there.
  returned: success
  type: str
fingerprint:
  description: Digest of the public key.
  returned: success
  type: str
"""
