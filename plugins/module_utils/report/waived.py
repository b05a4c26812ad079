# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which controls and rules an image does not hold to, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..build.definition_model import Definition
from ..core.errors import DriverError
from ..core.yaml_fields import nearest
from .controls_model import Control


def check_waivers(definition: Definition, controls: Iterable[Control]) -> None:
    """Raise DriverError when *definition* waives a control that is none of *controls*.

    :param controls: those of the roles in its layers.
    """
    known = {control.control for control in controls}
    wrong = []
    for waiver in definition.waivers:
        if waiver.control and waiver.control not in known:
            meant = nearest(waiver.control, known)
            advice = f"did you mean {meant}?" if meant else "docs/hardening.md lists them."
            wrong.append(
                f"{definition.at(waiver.line)}: waivers: {waiver.control} is no control of the "
                f"roles in its layers; {advice}"
            )
    if wrong:
        raise DriverError("\n".join(wrong))


def reasons_by_rule(
    definition: Definition, controls: Sequence[Control], release: str
) -> dict[str, str]:
    """Return why rules of OpenSCAP may fail in the image, by their ids without prefix.

    The definition's own waivers come before those of its roles.

    :param controls: those of the roles in its layers.
    :param release: code name of the image's Debian.
    """
    by_id = {control.control: control for control in controls}
    reasons: dict[str, str] = {}
    for control in controls:
        if control.waiver and control.holds(definition.kind, release):
            for rule in control.openscap:
                reasons.setdefault(rule, f"{control.waiver} ({control.control})")
    for waiver in definition.waivers:
        waived = by_id.get(waiver.control)
        if waived is not None:
            reasons |= dict.fromkeys(waived.openscap, f"{waiver.reason} ({waiver.control})")
    return reasons | {waiver.rule: waiver.reason for waiver in definition.waivers if waiver.rule}
