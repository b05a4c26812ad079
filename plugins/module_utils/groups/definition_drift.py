# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a group's definition that says which differences of its instances are fine."""

from __future__ import annotations

from ..core.yaml_fields import Section
from .definition_model import IgnoredDrift

KINDS = ("file", "package", "process", "setting", "mount")


def read_drift(top: Section) -> tuple[IgnoredDrift, ...]:
    """Return what a look for drift lets pass."""
    field = top.get("drift")
    if field is None:
        return ()
    example = "[{file: /var/lib/app/*.pid, reason: the old release writes it}]"
    outer = field.section(f"{{ignore: {example}}}")
    listed = outer.get("ignore")
    found: list[IgnoredDrift] = []
    for item in listed.items(example) if listed is not None else ():
        section = item.section(example[1:-1])
        given = [(kind, one) for kind in KINDS if (one := section.get(kind)) is not None]
        reason = section.require("reason", "say why the difference is fine")
        said = (reason.text() if reason is not None else None) or ""
        section.close()
        if len(given) != 1:
            item.complain(f"must name one of {', '.join(KINDS)}")
            continue
        kind, value = given[0]
        found.append(IgnoredDrift(kind, value.text() or "", said))
    outer.close()
    return tuple(found)
