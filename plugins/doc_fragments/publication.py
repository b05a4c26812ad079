# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of modules that publish a version's disk to a place."""

from __future__ import annotations


class ModuleDocFragment:
    """Which version, and what is told of it."""

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
  tfvars:
    description: A file C(.tfvars.json) in which Terraform is told what there is; see the examples.
    type: path
  timeout:
    description: Seconds that the other side has for each of the steps that take long.
    type: float
    default: 3600
notes:
  - The task runs on the controller, and the version must be in its store.
  - In check mode the place is asked what it has, and nothing is changed there.
"""
