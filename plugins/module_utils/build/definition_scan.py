# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``scan`` of a definition's ``seal``: what is looked for in the finished root's files."""

from __future__ import annotations

from ..core.yaml_fields import Field, Section
from .definition_model import AllowedSecret, Scan

_ALLOWED = "{path: /etc/app/test.key, reason: A key of the tests.}"


def read_scan(section: Section) -> Scan | None:
    """Return the ``scan`` of a seal; None when it is false."""
    return _scan(section.get("scan"))


def read_truth(section: Section, key: str) -> bool:
    """Return whether *key* is true, which it is when it is not there."""
    field = section.get(key)
    return field is None or field.truth()


def _scan(field: Field | None) -> Scan | None:
    if field is None:
        return Scan()
    if field.is_truth:
        return Scan() if field.truth() else None
    section = field.section("{scanners: false}")
    scan = Scan(
        vulnerabilities=read_truth(section, "vulnerabilities"),
        scanners=read_truth(section, "scanners"),
        allowed=_allowed(section.get("allow_secrets")),
    )
    section.close()
    return scan


def _allowed(field: Field | None) -> tuple[AllowedSecret, ...]:
    found = []
    for item in field.items(f"[{_ALLOWED}]") if field is not None else ():
        section = item.section(_ALLOWED)
        path = section.require("path", "it must be a path in the image, perhaps with * in it")
        reason = section.require("reason", "say why it may be there")
        rule = section.get("rule")
        given = AllowedSecret(
            (path.match("/.*", "it must begin with /") if path is not None else None) or "",
            (reason.text() if reason is not None else None) or "",
            (rule.match("[a-z-]+", "it must be the name of a rule, such as private-key") or "")
            if rule is not None
            else "",
        )
        section.close()
        found.append(given)
    return tuple(found)
