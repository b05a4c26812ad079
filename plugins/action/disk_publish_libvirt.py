# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish a version's disk to a storage pool of libvirt; see the module of the same name."""

from __future__ import annotations

from ..module_utils.build.home import Home
from ..module_utils.publish.steps import Steps
from ..module_utils.publish.subject import Subject
from ..plugin_utils.publish_action import (
    VERSION_ARGS,
    PublishAction,
    Published,
    variable_name,
)


class ActionModule(PublishAction):
    """The action ``kiln.immutable.disk_publish_libvirt``."""

    FORMATS = ("qcow2", "raw")
    _VALID_ARGS = VERSION_ARGS | {"uri", "pool", "name", "timeout"}

    def publish(self, subject: Subject, steps: Steps, home: Home) -> Published:
        """Upload the volume when it is not there."""
        from ..module_utils.publish.libvirt import Libvirt, LibvirtPublication

        pool = self.text("pool") or "default"
        name = self.text("name") or f"{subject.image}_{subject.number}.{subject.disk.format}"
        libvirt = Libvirt(self.text("uri") or "", timeout=self.number("timeout", 3600))
        path = LibvirtPublication(subject, pool, name, libvirt, home.locks, steps).run()
        facts = {"pool": pool, "name": name, "format": subject.disk.format, "path": path}
        volume = {"pool": pool, "name": name, "format": subject.disk.format}
        return Published(facts, {f"{variable_name(subject.image)}_volume": volume})
