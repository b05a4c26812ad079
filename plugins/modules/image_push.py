#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: image_push
short_description: Brings a version to a registry
version_added: 0.2.0
description:
  - Brings a version with all that belongs to it (index, images, signatures, attestations) to an OCI
    registry, byte for byte, and lets the tags of the channels that point to it follow.
  - Blobs that are there stay, those of other images in the same registry are mounted, the others
    are sent, several at once, large ones in chunks. An upload whose connection breaks goes on where
    it was.
  - The tag of the version comes last. Killed at any point it leaves nothing that is half there, and
    the next run goes on.
  - A tag of a version that means something else is never moved, and signatures that others made are
    kept.
author: kiln.immutable contributors (@kiln-immutable)
extends_documentation_fragment:
  - kiln.immutable.transfer
  - kiln.immutable.foreseeable
seealso:
  - module: kiln.immutable.image_pull
"""

EXAMPLES = r"""
- name: Push the newest version
  kiln.immutable.image_push:
    image: web
    registry: registry.example.org/team

- name: Push what production runs
  kiln.immutable.image_push:
    image: web
    channel: prod
"""

RETURN = r"""
image:
  description: Name of the image.
  returned: success
  type: str
version:
  description: Number of the version.
  returned: success
  type: str
  sample: 1.0.3
repository:
  description: The repository in the registry.
  returned: success
  type: str
  sample: registry.example.org/team/web
reference:
  description: What the version is called there.
  returned: success
  type: str
  sample: registry.example.org/team/web:1.0.3
digest:
  description: Digest of the version's index.
  returned: success
  type: str
bytes:
  description: Bytes of the blobs that were sent; in check mode, of those that are not there.
  returned: success
  type: int
wire:
  description: Bytes of blobs that went over the network, with those that had to be repeated.
  returned: success
  type: int
mounted:
  description: Bytes of the blobs that the registry took from another of its repositories.
  returned: success
  type: int
skipped:
  description: Bytes of the blobs that were there.
  returned: success
  type: int
blobs:
  description: Every blob, with its digest, its size, and how it came there.
  returned: success
  type: list
  elements: dict
  contains:
    digest:
      description: Its digest.
      type: str
    size:
      description: Its bytes.
      type: int
    how:
      description: C(sent), C(mounted) or C(skipped).
      type: str
manifests:
  description: Digests of the manifests that were not there.
  returned: success
  type: list
  elements: str
tags:
  description: Tags that were set.
  returned: success
  type: list
  elements: str
"""
