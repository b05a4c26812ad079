# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rotation plan as people read it."""

from __future__ import annotations

from collections.abc import Sequence

from .judgement import Fate, Verdict, span
from .planner import RotationPlan, Step

_SIGNS = {Fate.KEEP: " ", Fate.REPLACE: "±", Fate.REMOVE: "-"}
_WORDS = {
    Fate.KEEP: "is kept",
    Fate.REPLACE: "is replaced",
    Fate.REMOVE: "is removed",
}
SHOWN = 40
"""Instances and steps beyond so many are counted instead of listed."""


def render(plan: RotationPlan) -> list[str]:
    """Return the lines of *plan*: instances with their fate and its reason, steps, and the sum."""
    title = f"{plan.group}: {plan.release.image} {plan.release.version}, {plan.size} instances"
    if not plan.changes:
        return [title, "  Nothing changes."]
    lines = [title, "", *_instances(plan.verdicts)]
    replaced = len(plan.of(Fate.REPLACE))
    added = plan.begins - replaced
    if added > 0:
        lines.append(f"  + {added} new instance{'s' if added > 1 else ''} to be started")
    if plan.uneven:
        lines.append(f"  ~ {plan.uneven} kept ones get their full part of the traffic again")
    if plan.stop_first:
        lines += [
            "",
            (
                "  An exclusive volume is handed over stop-first: each instance ends before its "
                "successor begins."
            ),
        ]
    lines += ["", *_steps(plan.steps), ""]
    lines.append(
        f"  Plan: {plan.begins} to start, {replaced} to replace, "
        f"{len(plan.of(Fate.REMOVE))} to remove, {len(plan.of(Fate.KEEP))} to keep."
    )
    lines.append(
        f"  Lowest capacity {plan.lowest} of {plan.size}, highest count {plan.highest}, "
        f"expected time {span(round(plan.seconds))}."
    )
    return lines


def _instances(verdicts: Sequence[Verdict]) -> list[str]:
    lines = []
    width = max((len(one.instance.id) for one in verdicts[:SHOWN]), default=0)
    for one in verdicts[:SHOWN]:
        what = _WORDS[one.fate] + (f": {one.reason}" if one.reason else "")
        lines.append(f"  {_SIGNS[one.fate]} {one.instance.id:<{width}}  {what}")
    for fate in Fate:
        rest = sum(one.fate is fate for one in verdicts[SHOWN:])
        if rest:
            lines.append(f"  {_SIGNS[fate]} {rest} more {_WORDS[fate].replace('is', 'are', 1)}")
    return lines


def _steps(steps: Sequence[Step]) -> list[str]:
    lines = []
    for number, step in enumerate(steps[:SHOWN], 1):
        cost = f"at least {step.serving} serve, at most {step.alive} run"
        names = f" ({_names(step.ends)})" if step.ends else ""
        lines.append(f"  {number:>3}. {step.name}{names}: {cost}")
    if len(steps) > SHOWN:
        lines.append(f"       and {len(steps) - SHOWN} more steps")
    return lines


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown
