#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_publish_aws
short_description: Makes a machine image of AWS of a version's disk
version_added: 0.2.0
description:
  - Sends the disk of a version to a snapshot by the EBS direct APIs, without an instance, a volume
    or a bucket; registers a machine image (AMI) of it, copies it to regions and shares it.
  - Only blocks that are not zeros are sent, several at once, each with its checksum, and a checksum
    of them all ends the snapshot. A run that was killed goes on where it was.
  - A version is registered once. It is found by the image's name, and the digest of its disk is in
    tags and the description; a name that is taken by another disk is an error.
  - The firmware (UEFI or BIOS) is that which the disk's partition table asks for. The image takes
    only tokens from the instance metadata service (IMDSv2).
options:
  region:
    description: The region in which it is registered. By default that of the settings of AWS.
    type: str
  profile:
    description: Profile of the settings of AWS that has the credentials.
    type: str
  name:
    description: Name of the machine image. By default C(IMAGE-VERSION).
    type: str
  copies:
    description: Other regions that are to have it.
    type: list
    elements: str
  encrypted:
    description: Encrypt its snapshots.
    type: bool
    default: false
  kms_keys:
    description:
      - ARNs of the keys to encrypt with, by region. By default each region's key of EBS, with which
        it cannot be shared.
    type: dict
  shared_with:
    description: Accounts that may start machines from it, by their twelve digits.
    type: list
    elements: str
  tags:
    description: Tags of the image and its snapshots, beside those that say what they are.
    type: dict
  volume_type:
    description: Type of the volume that a machine gets.
    type: str
    default: gp3
  tpm:
    description: Give machines a virtual TPM (NitroTPM 2.0). The disk must be one that UEFI starts.
    type: bool
    default: false
  deprecate_after:
    description:
      - Days until the images of older versions are deprecated, in each region. By default they are
        not. One that has such a time keeps it.
    type: int
  parallel:
    description: How many blocks are on their way at once.
    type: int
    default: 16
requirements:
  - boto3 (on the controller)
author: kiln.immutable contributors (@kiln-immutable)
extends_documentation_fragment:
  - kiln.immutable.publication
  - kiln.immutable.foreseeable
seealso:
  - module: kiln.immutable.disk_publish
"""

EXAMPLES = r"""
- name: Publish what production runs, in two regions
  kiln.immutable.disk_publish_aws:
    image: web-vm
    channel: prod
    region: eu-central-1
    copies: [eu-west-1]
    shared_with: ["123456789012"]
    deprecate_after: 30
    # {"web_vm_ami": {"eu-central-1": "ami-...", "eu-west-1": "ami-..."}}
    tfvars: terraform/images.auto.tfvars.json
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
digest:
  description: Digest of the version's index.
  returned: success
  type: str
disk:
  description: Digest of the disk's file.
  returned: success
  type: str
steps:
  description: What was done, or would be done in check mode; empty when all is there.
  returned: success
  type: list
  elements: str
  sample: [Register web-vm-1.0.3 in eu-central-1]
region:
  description: The region in which it is registered.
  returned: success
  type: str
name:
  description: Name of the machine image.
  returned: success
  type: str
images:
  description: Ids of the machine images that are there, by region.
  returned: success
  type: dict
  sample: {eu-central-1: ami-0123456789abcdef0}
"""
