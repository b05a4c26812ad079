#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: image_pull
short_description: Takes a version from a registry into the store and the engine
version_added: 0.2.0
description:
  - Takes a version with all that belongs to it (index, images, signatures, attestations) from an
    OCI registry, byte for byte, into the store of the home that C(kiln_home) names.
  - The catalog says which digest the version has, so whoever may move tags in the registry cannot
    change it. Every blob is verified while it is read.
  - Blobs that are in the store are not fetched. The version's name in the store comes last. Killed
    at any point it leaves nothing that is half there, and the next run goes on.
author: kiln.immutable contributors (@kiln-immutable)
extends_documentation_fragment:
  - kiln.immutable.transfer
  - kiln.immutable.foreseeable
options:
  load:
    description:
      - Load the version into the engine too, as C(kiln/IMAGE:NUMBER), and let the names of the
        image's channels there follow the catalog.
      - V(false) only puts it into the store, for which no engine is needed.
    type: bool
    default: true
seealso:
  - module: kiln.immutable.image_push
"""

EXAMPLES = r"""
- name: Have what production runs in the engine of this machine, as kiln/web:prod
  kiln.immutable.image_pull:
    image: web
    channel: prod
    registry: registry.example.org/team

- name: Have it in the store alone, to verify it
  kiln.immutable.image_pull:
    image: web
    channel: prod
    registry: registry.example.org/team
    load: false
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
  description: Bytes of the blobs that were fetched, in check mode of those that would be.
  returned: success
  type: int
skipped:
  description: Bytes of the blobs that were in the store.
  returned: success
  type: int
blobs:
  description: The blobs that were fetched.
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
manifests:
  description: Digests of the manifests that were not in the store.
  returned: success
  type: list
  elements: str
tags:
  description: Names that were given in the store.
  returned: success
  type: list
  elements: str
engine:
  description:
    - What was done in the engine, in check mode what would be, a sentence each.
    - Empty with C(load=false).
  returned: success
  type: list
  elements: str
  sample: ["kiln/web:1.0.3 is loaded", "kiln/web:prod is kiln/web:1.0.3"]
"""
