#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_publish_google
short_description: Makes an image of Google's Compute Engine of a version's disk
version_added: 0.2.0
description:
  - Sends the disk of a version, in the format C(tar.gz), to a bucket of Cloud Storage and makes an
    image of it. The object is removed then.
  - The object is uploaded in chunks, with a checksum, and has its name only when it is whole.
  - A version is made once; the digest of its disk is in the image's description.
options:
  project:
    description: The project that gets the image.
    type: str
    required: true
  bucket:
    description: The bucket through which it goes.
    type: str
    required: true
  name:
    description: Name of the image. By default C(IMAGE-VERSION) with hyphens for dots.
    type: str
  family:
    description: The family of which machines take the newest image.
    type: str
  locations:
    description: Where Google keeps it. By default near the bucket.
    type: list
    elements: str
  labels:
    description: Labels of the image, beside those that say what it is.
    type: dict
  features:
    description: What a guest of it can do, by the names of Compute Engine.
    type: list
    elements: str
    default: [UEFI_COMPATIBLE, VIRTIO_SCSI_MULTIQUEUE, GVNIC]
requirements:
  - google-cloud-compute, google-cloud-storage (on the controller)
author: kiln.immutable contributors (@kiln-immutable)
extends_documentation_fragment:
  - kiln.immutable.publication
  - kiln.immutable.foreseeable
seealso:
  - module: kiln.immutable.disk_publish
"""

EXAMPLES = r"""
- name: Publish the newest version
  kiln.immutable.disk_publish_google:
    image: web-vm
    project: example-images
    bucket: example-disks
    family: web-vm
    # {"web_vm_image": "projects/example-images/global/images/web-vm-1-0-3"}
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
name:
  description: Name of the image.
  returned: success
  type: str
link:
  description: The image's address; empty when it is not there yet.
  returned: success
  type: str
"""
