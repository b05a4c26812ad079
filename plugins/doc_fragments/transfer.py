# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of modules that move a version between a home and a registry."""

from __future__ import annotations


class ModuleDocFragment:
    """Which version, and which registry."""

    DOCUMENTATION = r"""
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
notes:
  - Who may push or pull is what C(docker login) left on the controller. The variables
    C(kiln_registry_ca) (a file of authorities) and C(kiln_registry_plain_http) (allows HTTP to
    other machines, without credentials) change how registries are spoken to.
"""
