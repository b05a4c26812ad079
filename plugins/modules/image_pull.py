#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: image_pull
short_description: Takes a version from a registry into the store of a home
version_added: 0.2.0
description:
  - Takes a version with all that belongs to it (index, images, signatures, attestations) from an
    OCI registry, byte for byte, into the store of the home that C(kiln_home) names.
  - The catalog says which digest the version has, so whoever may move tags in the registry cannot
    change it. Every blob is verified while it is read.
  - Blobs that are in the store are not fetched. The version's name in the store comes last. Killed
    at any point it leaves nothing that is half there, and the next run goes on.
  - Who may pull is what C(docker login) left on the controller. The variables C(kiln_registry_ca)
    (a file of authorities) and C(kiln_registry_plain_http) (allows HTTP to other machines, without
    credentials) change how registries are spoken to.
author: kiln.immutable contributors (@kiln-immutable)
options:
  image:
    description: Name of the image.
    type: str
    required: true
  version:
    description: Number of the version. By default the newest of the image.
    type: str
  channel:
    description: The channel whose version is meant, instead of I(version).
    type: str
  registry:
    description:
      - Where the repository of the image is, as C(registry.example.org/team); the image's name is
        added to it.
      - The variable C(kiln_registry) by default.
    type: str
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: full
    description: Shows what changed.
seealso:
  - module: kiln.immutable.image_push
"""

EXAMPLES = r"""
- name: Have what production runs in the store of this machine
  kiln.immutable.image_pull:
    image: web
    channel: prod
    registry: registry.example.org/team
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
"""
