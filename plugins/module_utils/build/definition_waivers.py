# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The waivers of a definition: which controls and rules an image does not hold to, and why."""

from __future__ import annotations

from ..core.yaml_fields import Field, Section
from .definition_model import Waiver

_EXAMPLE = "{control: kernel-modules, reason: The application loads one.}"
_RULE_PREFIX = "xccdf_org.ssgproject.content_rule_"


def read_waivers(top: Section) -> tuple[Waiver, ...]:
    """Return the ``waivers`` of a definition, each control and each rule once."""
    field = top.get("waivers")
    found: list[Waiver] = []
    for item in field.items(f"[{_EXAMPLE}]") if field is not None else ():
        waiver = _waiver(item)
        if waiver is None:
            continue
        for other in found:
            if (other.control, other.rule) == (waiver.control, waiver.rule):
                item.complain(f"is about {waiver.subject}, as line {other.line} is; keep one")
        found.append(waiver)
    return tuple(found)


def _waiver(item: Field) -> Waiver | None:
    section = item.section(_EXAMPLE)
    control = _text(section.get("control"))
    rule = _text(section.get("rule")).removeprefix(_RULE_PREFIX)
    wanted = section.require("reason", "a waiver says why")
    reason = " ".join(_text(wanted).split())
    section.close()
    if bool(control) == bool(rule):
        item.complain("names not exactly one of control and rule; give each a waiver of its own")
        return None
    return Waiver(control, rule, reason, item.line) if reason else None


def _text(field: Field | None) -> str:
    return (field.text() if field is not None else None) or ""
