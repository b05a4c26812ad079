# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the catalog holds, as tables that a person reads in a terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .bake_summary import human_bytes


def render_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return *rows*, the first of which is the head, as lines with columns in line."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def render_prune(versions: Sequence[Mapping[str, Any]], total: int, *, look: bool) -> list[str]:
    """Return a line for each version, with the rule that keeps or drops it and the bytes won."""
    if not versions:
        return ["The catalog has no versions."]
    rows = [["version", "", "bytes", "because"]]
    rows += [
        [
            f"{one['image']} {one['version']}",
            "stays" if one["keep"] else "goes",
            "" if one["keep"] else human_bytes(one["bytes"]),
            "; ".join(one["rules"]),
        ]
        for one in versions
    ]
    going = sum(not one["keep"] for one in versions)
    said = "would go and free" if look else "go and free"
    return [*render_table(rows), f"{going} of {len(versions)} {said} {human_bytes(total)}."]


def render_status(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each image and channel, and below them what waits, by name."""
    if not rows:
        return ["The catalog has no versions."]
    head = ("image", "channel", "version", "age", "security", "base", "policy", "runs in")
    table = [head, *(_status_cells(row) for row in rows)]
    lines = render_table(table)
    said: dict[str, None] = {}
    for row in rows:
        name = f"{row['image']} {row['version']}"
        if row["revoked"]:
            said[f"{name} is revoked ({row['revoked']})."] = None
        if row["updates"]:
            said[f"{name} waits for {', '.join(row['updates'])}."] = None
        elif row["updates"] is None:
            said[f"{name}: security updates are not known, as {row['unknown']}."] = None
        for failure in row["failures"]:
            said[f"{name} in {row['channel']}: {failure}"] = None
    return [*lines, "", *said] if said else lines


def _status_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    updates = row["updates"]
    state = "revoked" if row["revoked"] else f"{len(row['failures'])} fail"
    newer = "" if row["version"] == row["newest"] else f" (newest {row['newest']})"
    return (
        row["image"],
        row["channel"] or "-",
        row["version"] + newer,
        f"{row['age']:.0f} d",
        "?" if updates is None else str(len(updates)) if updates else "none",
        f"{row['base']} -> {row['base_newest']}" if row["base_newest"] else row["base"] or "-",
        state if row["revoked"] or row["failures"] else "ok",
        ", ".join(row["runs"]) or "-",
    )


def render_groups(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each instance group, of what the catalog knows of it."""
    if not groups:
        return ["The catalog knows of no instance group."]
    head = ("group", "image", "runs", "before", "instances", "channel", "since")
    return render_table([head, *(_group_cells(one) for one in groups)])


def _group_cells(one: Mapping[str, Any]) -> tuple[str, ...]:
    before = [number for number in one["previous"] if number not in one["running"]]
    return (
        str(one["name"]),
        str(one["image"]),
        " and ".join(one["running"]),
        before[0] if before else "",
        str(one["instances"]),
        str(one["channel"] or ""),
        str(one["since"]),
    )
