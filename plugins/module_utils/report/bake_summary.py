# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a bake as text that a person reads in a terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def human_bytes(count: int) -> str:
    """Return *count* bytes in the largest binary unit (IEC 80000-13) that keeps it above one."""
    value = float(count)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{count} B"


def render_nothing(image: Mapping[str, Any]) -> str:
    """Return the line of an image that is as it should be."""
    return f"{image['name']} {image['version']}: nothing to do."


def render_summary(image: Mapping[str, Any]) -> str:
    """Return the summary of a finished image: what it is, a row per layer, how to run it."""
    layers = image["layers"]
    width = max(len("layer"), *(len(row["name"]) for row in layers))
    size = human_bytes(sum(row["bytes"] for row in layers))
    stored = human_bytes(sum(row["stored"] for row in layers))
    lines = [
        "",
        f"{image['name']} {image['version']}, baked in {image['seconds']:.1f} s",
        f"  digest  {image['digest']}",
        f"  size    {size}, {stored} compressed",
        f"  image   {image['image']} (in the engine)",
        *([f"  report  {image['report']}"] if image.get("report") else []),
        "",
        f"  {'layer':<{width}}  {'':<6}  {'seconds':>7}  {'size':>10}  {'compressed':>10}",
    ]
    lines += [
        f"  {row['name']:<{width}}  {row['done']:<6}  {row['seconds']:>7.1f}  "
        f"{human_bytes(row['bytes']):>10}  {human_bytes(row['stored']):>10}"
        for row in layers
    ]
    lines += _disk_lines(image.get("disks") or {})
    findings = image.get("findings") or {}
    if findings:
        lines += ["", *(f"  {name}: {say_finding(found)}" for name, found in findings.items())]
    waived = image.get("waived") or ()
    if waived:
        lines += ["", "  Waived:", *(f"  {subject}: {reason}" for subject, reason in waived)]
    lines += ["", "  Run it:", f"  {image['run']}", ""]
    return "\n".join(lines)


def _disk_lines(disks: Mapping[str, Any]) -> list[str]:
    if not disks:
        return []
    lines = [
        f"  disk {one['format']}: {human_bytes(one['size'])}, {human_bytes(one['blob']['size'])}"
        f" stored, {one['blob']['digest']}"
        for one in disks["artefacts"]
    ]
    booted = disks["booted"]
    if booted:
        tests = f", its tests: {booted['tests']}" if booted.get("tests") else ""
        lines.append(f"  booted: up after {booted['seconds']:.1f} s{tests}; {booted['console']}")
    return ["", *lines]


def say_finding(found: Mapping[str, Any]) -> str:
    """Return in one line what a scan, goss or Lynis found in a finished image."""
    if "hardening_index" in found:
        warnings, suggestions = len(found["warnings"]), len(found["suggestions"])
        return (
            f"hardening index {found['hardening_index']}, {warnings} warnings,"
            f" {suggestions} suggestions"
        )
    counts = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in found["counts"].items() if count
    )
    return f"{found['profile']}, {counts}" if "profile" in found else counts


def render_failure(failure: Mapping[str, Any]) -> str:
    """Return why an image failed, with the failing task's own message last but the way on."""
    lines = [f"{failure['name']} was not baked."]
    if failure.get("layers"):
        lines.append(
            f"{failure['layers_done']} of {failure['layers']} layers are in the cache; the next"
            " run goes on after them."
        )
    if failure.get("kept"):
        lines.append(f"Its container was kept. A shell in it:  {failure['shell']}")
        lines.append(f"Away with it:  {failure['remove']}")
    elif failure.get("layers"):
        lines.append("To look into its container, run again with -e kiln_keep_failed=true.")
    if failure.get("task"):
        lines.append(f"Failed task: {failure['task']}")
    lines.append(str(failure["message"]))
    return "\n".join(lines)
