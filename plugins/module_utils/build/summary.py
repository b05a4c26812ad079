# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bake tells of an image: to roles, the system in it; to people, its layers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ..oci.layer import Layer
from .definition_model import Base, Parent
from .records import BaseRecord, LayerRecord


def system_facts(base: BaseRecord) -> dict[str, Any]:
    """Return Ansible's facts of the image, for roles that ask for them.

    They say what the image is and nothing of the machine that bakes it: those would differ from
    bake to bake.
    """
    number = {"bookworm": "12", "trixie": "13"}.get(base.suite)
    facts: dict[str, Any] = {
        "architecture": {"amd64": "x86_64", "arm64": "aarch64"}.get(
            base.architecture, base.architecture
        ),
        "distribution_release": base.suite,
        "os_family": "Debian",
        "pkg_mgr": "apt",
        "system": "Linux",
        "virtualization_type": "container",
        "virtualization_role": "guest",
    }
    if number is not None:
        facts["distribution"] = "Debian"
        facts["distribution_major_version"] = number
        facts["distribution_version"] = number
    return facts


def layer_rows(
    origin: Base,
    base: BaseRecord,
    layers: Sequence[LayerRecord],
    *,
    base_was_made: bool,
    restored: Collection[str],
) -> list[dict[str, Any]]:
    """Return a row for the base and for each layer: whether it was made, how long, how large.

    :param origin: the base as the definition has it.
    :param restored: names of the layers that came from the cache.
    """
    name = origin.name if isinstance(origin, Parent) else base.suite
    rows = [
        {
            "name": f"base {name}",
            "done": "run" if base_was_made else "cached",
            "seconds": base.seconds,
            "bytes": sum(layer.size for layer in base.layers),
            "stored": sum(layer.descriptor.size for layer in base.layers),
        }
    ]
    for record in layers:
        done = "cached" if record.name in restored else "run"
        rows.append(_row(record.name, done, record.seconds, record.layer))
    return rows


def _row(name: str, done: str, seconds: float, layer: Layer | None) -> dict[str, Any]:
    return {
        "name": name,
        "done": done,
        "seconds": seconds,
        "bytes": 0 if layer is None else layer.size,
        "stored": 0 if layer is None else layer.descriptor.size,
    }
