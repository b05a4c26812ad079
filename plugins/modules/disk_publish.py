#!/usr/bin/python
# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a documentation file: the work is done by the action plugin of the same name, which
# runs on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_publish
short_description: Writes the disks of a version as files
version_added: 0.2.0
description:
  - Writes the disks that a version has, in the formats asked for, into a folder of the controller,
    each as C(NAME_VERSION.FORMAT), and enters their digests into the folder's C(SHA256SUMS).
  - A file gets its name when it is whole and verified, and the list comes last, so that who reads
    the list finds what it names. Files that are there already stay as they are.
  - C(systemd-sysupdate) and C(sha256sum --check) read the list.
  - The format C(sysupdate) is three files, C(NAME_VERSION_UUID.root), C(NAME_VERSION_UUID.verity)
    and C(NAME_VERSION.efi), with the UUIDs of the partitions that they become.
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
  formats:
    description: The formats that are wanted. By default all that the version has.
    type: list
    elements: str
  folder:
    description: The folder for the files; it is made when it is not there.
    type: path
    required: true
  gpg_key:
    description:
      - The key by which C(gpg) signs the list, into C(SHA256SUMS.gpg), as C(systemd-sysupdate)
        verifies it. Its name, address or fingerprint; the controller's user has it, without a
        passphrase or with an agent that knows it.
      - Without it the list is not signed.
    type: str
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what it would do without doing it.
  diff_mode:
    support: full
    description: Shows what changed.
seealso:
  - module: kiln.immutable.disk_publish_aws
  - module: kiln.immutable.disk_publish_azure
  - module: kiln.immutable.disk_publish_google
  - module: kiln.immutable.disk_publish_libvirt
  - module: kiln.immutable.image_push
"""

EXAMPLES = r"""
- name: Publish the disk that production runs
  kiln.immutable.disk_publish:
    image: web-vm
    channel: prod
    formats: [qcow2]
    folder: /srv/disks

- name: Publish what machines with two slots install the version from
  kiln.immutable.disk_publish:
    image: web-vm
    channel: prod
    formats: [sysupdate]
    folder: /srv/www/web-vm
    gpg_key: images@example.org
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
files:
  description: The disks, those that were there already too.
  returned: success
  type: list
  elements: dict
  contains:
    format:
      description: Its format.
      type: str
    path:
      description: Its file.
      type: str
    sha256:
      description: Digest of the file.
      type: str
    size:
      description: Bytes of the file.
      type: int
"""
