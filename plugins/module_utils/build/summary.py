# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of layers in what a bake tells people of an image. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ..oci.layer import Layer
from .definition_model import Base, Parent
from .records import BaseRecord, LayerRecord


def layer_rows(
    origin: Base,
    base: BaseRecord,
    layers: Sequence[LayerRecord],
    *,
    base_was_made: bool,
    restored: Collection[str],
    fetched: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return a row for the base and for each layer: whether it was made, how long, how large.

    :param origin: the base as the definition has it.
    :param restored: names of the layers that came from the cache.
    :param fetched: keys of the base and layers that came from another machine's cache.
    """

    def done(key: str, *, was_run: bool) -> str:
        return "run" if was_run else "shared" if key in fetched else "cached"

    name = origin.name if isinstance(origin, Parent) else base.suite
    rows = [
        {
            "name": f"base {name}",
            "done": done(base.key, was_run=base_was_made),
            "seconds": base.seconds,
            "bytes": sum(layer.size for layer in base.layers),
            "stored": sum(layer.descriptor.size for layer in base.layers),
        }
    ]
    for record in layers:
        how = done(record.key, was_run=record.name not in restored)
        rows.append(_row(record.name, how, record.seconds, record.layer))
    return rows


def _row(name: str, done: str, seconds: float, layer: Layer | None) -> dict[str, Any]:
    return {
        "name": name,
        "done": done,
        "seconds": seconds,
        "bytes": 0 if layer is None else layer.size,
        "stored": 0 if layer is None else layer.descriptor.size,
    }
