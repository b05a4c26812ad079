# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the disks of a version to where they are used; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..module_utils.core.errors import DriverError
from ..plugin_utils.catalog_action import CatalogAction
from ..plugin_utils.wanted_version import stored_image, wanted_version


class ActionModule(CatalogAction):
    """The action ``kiln.immutable.disk_publish``."""

    _VALID_ARGS = frozenset({"image", "version", "channel", "formats", "folder", "gpg_key"})

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write the disks that are not there as files, and their checksums."""
        from ..module_utils.build.disk.artefact import disks_of
        from ..module_utils.build.disk.files import plan_files, read_sums, write_files
        from ..module_utils.build.disk.formats import written_forms
        from ..module_utils.build.disk.signed_sums import SIGNATURE, is_signed, sign_sums

        shop = self.shop(task_vars)
        version = wanted_version(self, self.catalog(task_vars))
        folder = Path(self.required("folder")).expanduser().absolute()
        named = f"{version.image} {version.number}"
        disks = {
            disk.format: disk for disk in disks_of(shop.layout, stored_image(shop, version).index)
        }
        if not disks:
            raise DriverError(
                f"{named} has no disks.", hint="Its definition needs kind: vm and a disk."
            )
        formats = written_forms(self.listed("formats") or list(disks))
        missing = [form for form in formats if form not in disks]
        if missing:
            raise DriverError(
                f"{named} has no disk in the format {' or '.join(missing)}; it has"
                f" {' and '.join(disks)}."
            )
        files = plan_files(
            [disks[form] for form in formats],
            folder,
            name=version.image,
            version=version.number,
        )
        sums = read_sums(folder)
        new = [one for one in files if not one.is_there or sums.get(one.path.name) != one.sha256]
        key = str(self._task.args.get("gpg_key") or "")
        unsigned = bool(key) and (bool(new) or not is_signed(folder, key))
        if new and not self._task.check_mode:
            write_files(shop.layout, files, folder)
        if unsigned and not self._task.check_mode:
            sign_sums(folder, key)
        result: dict[str, Any] = {
            "changed": bool(new) or unsigned,
            "image": version.image,
            "version": version.number,
            "files": [
                {
                    "format": one.disk.format,
                    "path": str(one.path),
                    "sha256": one.sha256,
                    "size": one.disk.blob.size,
                }
                for one in files
            ],
        }
        if self._task.diff:
            lines = "".join(f"{one.sha256}  {one.path}\n" for one in new)
            lines += f"{folder / SIGNATURE}, by {key}\n" if unsigned else ""
            result["diff"] = {"before": "", "after": lines}
        return result
