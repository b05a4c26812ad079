# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A version as one HTML page that stands alone: no script, nothing fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.files import write_whole
from .bake_summary import human_bytes
from .controls_model import Control

_TEMPLATE = Path(__file__).with_name("version_page.html.j2")


@dataclass(frozen=True, slots=True)
class VersionPage:
    """What the page says.

    :param summary: of the image, as the bake has it: name, version, digest, layers, and more.
    :param created: RFC 3339.
    :param packages: ``NAME VERSION`` of what is installed.
    :param controls: rows as control_rows() gives them.
    :param attestations: predicate types of the statements that are kept with the version.
    :param waived: rules of OpenSCAP that the definition waives, with the reason.
    :param console: what the image's disk said when it was booted.
    """

    summary: Mapping[str, Any]
    description: str
    kind: str
    suite: str
    created: str
    packages: tuple[str, ...] = ()
    controls: tuple[Mapping[str, str], ...] = ()
    attestations: tuple[str, ...] = ()
    waived: tuple[tuple[str, str], ...] = field(default=())
    console: str = ""


def control_rows(
    controls: Iterable[Control], kind: str, release: str, waived: Mapping[str, str]
) -> tuple[Mapping[str, str], ...]:
    """Return the rows of those *controls* that are about images of *kind* and *release*.

    :param waived: the definition's own reasons, by the control's id.
    """
    return tuple(
        {
            "id": one.control,
            "title": one.title,
            "role": one.role,
            "references": _references(one, release),
            "waiver": waived.get(one.control, one.waiver),
        }
        for one in controls
        if one.holds(kind, release)
    )


def _references(control: Control, release: str) -> str:
    cis = ", ".join(control.cis.get(release, ()))
    return "; ".join(filter(None, (f"CIS {cis}" if cis else "", ", ".join(control.anssi))))


def render_page(page: VersionPage) -> str:
    """Return the page as HTML; all text in it is escaped."""
    # Imported here, because few steps of a bake write a page. Ansible brings it.
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters["bytes"] = human_bytes
    layers = page.summary["layers"]
    findings = page.summary.get("findings") or {}
    values = {
        **{name: page.summary[name] for name in ("name", "version", "digest", "image", "run")},
        "layers": layers,
        "seconds": page.summary["seconds"],
        "size": sum(layer["bytes"] for layer in layers),
        "stored": sum(layer["stored"] for layer in layers),
        "description": page.description,
        "kind": page.kind,
        "suite": page.suite,
        "created": page.created,
        "packages": page.packages,
        "controls": page.controls,
        "attestations": page.attestations,
        "waived": page.waived,
        "console": page.console,
    }
    return environment.from_string(_TEMPLATE.read_text("utf-8")).render(
        r=values,
        scan=findings.get("compliance"),
        goss=findings.get("goss"),
        lynis=findings.get("lynis"),
        disks=page.summary.get("disks"),
        largest=max(1, *(layer["bytes"] for layer in layers)),
        longest=max(0.1, *(layer["seconds"] for layer in layers)),
    )


def page_path(home: Path, name: str, version: str) -> Path:
    """Return where the page of a version is in a home."""
    return home / "reports" / name / f"{version}.html"


def write_page(home: Path, page: VersionPage) -> Path:
    """Write the page where page_path() says, whole; return its path."""
    path = page_path(home, str(page.summary["name"]), str(page.summary["version"]))
    write_whole(path, render_page(page).encode("utf-8", "replace"))
    return path
