#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_publish_libvirt
short_description: Uploads a version's disk to a storage pool of libvirt
version_added: 0.2.0
description:
  - Uploads the disk of a version, C(qcow2) or else C(raw), as a volume of a storage pool, through
    libvirt's client C(virsh), so that the pool may be on any machine that libvirt reaches.
  - It is uploaded under another name and read back. A volume has its name only when it is whole.
  - A volume that is there already is read back and compared; one that holds something else is an
    error.
options:
  uri:
    description: Address of libvirt, C(qemu+ssh://host/system) for example. By default virsh's own.
    type: str
  pool:
    description: The storage pool.
    type: str
    default: default
  name:
    description: Name of the volume. By default C(IMAGE_VERSION.FORMAT).
    type: str
requirements:
  - virsh (Debian's libvirt-clients, on the controller)
author: kiln.immutable contributors (@kiln-immutable)
extends_documentation_fragment:
  - kiln.immutable.publication
  - kiln.immutable.foreseeable
seealso:
  - module: kiln.immutable.disk_publish
"""

EXAMPLES = r"""
- name: Publish the newest version to a hypervisor
  kiln.immutable.disk_publish_libvirt:
    image: web-vm
    uri: qemu+ssh://kvm1.example.org/system
    pool: images
    # {"web_vm_volume": {"pool": "images", "name": "web-vm_1.0.3.qcow2", "format": "qcow2"}}
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
pool:
  description: The storage pool.
  returned: success
  type: str
name:
  description: Name of the volume.
  returned: success
  type: str
format:
  description: Format of the disk in it.
  returned: success
  type: str
path:
  description: Where the pool has it; empty when it is not there yet.
  returned: success
  type: str
"""
