#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_publish_azure
short_description: Makes an image of Azure of a version's disk
version_added: 0.2.0
description:
  - Sends the disk of a version, in the format C(vhd), to a page blob and makes a managed image of
    it, or a version of an image in a compute gallery. The blob is removed then.
  - Only pages that are not zeros are sent, several at once, each with its checksum. A run that was
    killed goes on with the pages that are not there.
  - A version is made once; the digest of its disk is among the tags.
options:
  subscription:
    description: The subscription. By default the environment's C(AZURE_SUBSCRIPTION_ID).
    type: str
  resource_group:
    description: The resource group of the image or the gallery.
    type: str
    required: true
  location:
    description: Where the image is.
    type: str
    required: true
  storage_account:
    description:
      - Name of the storage account for the blob, or the whole HTTPS address of
        its blobs.
      - Not needed with C(AZURE_STORAGE_CONNECTION_STRING) in the environment.
    type: str
  storage_account_id:
    description:
      - The storage account as a resource, for a gallery. By default the account of that name in the
        same resource group.
    type: str
  container:
    description: The container for the blob; it must be there.
    type: str
    default: disks
  name:
    description: Name of the managed image. By default C(IMAGE-VERSION).
    type: str
  gallery:
    description: The gallery that is to have it, instead of a managed image.
    type: str
  definition:
    description: The definition in the gallery that gets the version.
    type: str
  regions:
    description: Where the gallery keeps it beside I(location).
    type: list
    elements: str
  tags:
    description: Tags of the image, beside those that say what it is.
    type: dict
  endpoint:
    description: Address of the resource manager, in clouds of Azure other than the public one.
    type: str
  parallel:
    description: How many pieces of 4 MiB are on their way at once.
    type: int
    default: 8
requirements:
  - azure-identity, azure-mgmt-compute, azure-storage-blob (on the controller)
author: kiln.immutable contributors (@kiln-immutable)
extends_documentation_fragment:
  - kiln.immutable.publication
  - kiln.immutable.foreseeable
seealso:
  - module: kiln.immutable.disk_publish
"""

EXAMPLES = r"""
- name: Publish the newest version to a gallery
  kiln.immutable.disk_publish_azure:
    image: web-vm
    resource_group: images
    location: westeurope
    storage_account: kilndisks
    gallery: golden
    definition: web-vm
    regions: [northeurope]
    # {"web_vm_image_id": "/subscriptions/..."}
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
id:
  description: The image or image version as a resource; empty when it is not there yet.
  returned: success
  type: str
"""
