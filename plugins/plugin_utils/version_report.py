# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a version that was just baked, from what the bake and the store know of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..module_utils.build.base import describe_epoch
from ..module_utils.build.workshop import Sealed, Workshop
from ..module_utils.report.version_page import VersionPage, control_rows, write_page
from ..module_utils.trust.examination import Root
from ..module_utils.trust.notary import kept_statements
from .image_controls import image_controls


def report_version(
    shop: Workshop, sealed: Sealed, summary: Mapping[str, Any], playbook_folder: Path, root: Root
) -> Path:
    """Write the page of the version in *summary*; return its path.

    :param playbook_folder: where Ansible looks for roles first.
    :param root: what the image's files tell.
    """
    definition, suite = sealed.definition, sealed.base.suite
    statements = kept_statements(shop.layout, sealed.image)
    page = VersionPage(
        summary=summary,
        description=definition.description,
        kind=definition.kind,
        suite=suite,
        created=describe_epoch(sealed.base.epoch),
        packages=tuple(sorted(f"{one.name} {one.version}" for one in root.packages)),
        controls=control_rows(
            image_controls(definition, playbook_folder),
            definition.kind,
            suite,
            {one.control: one.reason for one in definition.waivers if one.control},
        ),
        attestations=tuple(sorted(one.predicate_type for one in statements)),
        waived=tuple((one.rule, one.reason) for one in definition.waivers if one.rule),
        console=_console(summary.get("disks") or {}),
    )
    return write_page(shop.home.root, page)


def _console(disks: Mapping[str, Any]) -> str:
    path = (disks.get("booted") or {}).get("console")
    return Path(path).read_text("utf-8", "replace") if path else ""
