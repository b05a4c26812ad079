# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a bake: leaving its base and layers to other machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..core.errors import DriverError
from .chain import LayerStep
from .definition import load
from .definition_model import Parent
from .records import BaseRecord, LayerRecord
from .session import Session
from .shared_cache import push
from .workshop import Workshop


def push_image(
    shop: Workshop, session: Session, image: str, *, say: Callable[[str], None]
) -> list[str]:
    """Push what *image* is made of to the shared cache; return the names of what was not there.

    A cache that cannot take it is no reason for a bake to fail: *say* is told.
    """
    pushed: list[str] = []
    if shop.cache_to is None:
        return pushed
    try:
        for name, record, was_run in _records(shop, session, image):
            if push(shop.cache_to, shop.cache, record, replace=was_run):
                pushed.append(name)
    except (OSError, DriverError) as error:
        say(f"The shared cache {shop.cache_to.name} did not take all of {image}: {error}")
    return pushed


def _records(
    shop: Workshop, session: Session, image: str
) -> Iterator[tuple[str, BaseRecord | LayerRecord, bool]]:
    """Yield name and record of the base and of each layer, and whether this bake made it."""
    state = session.read(image)
    base = load(state["definition"]).base
    if isinstance(base, Parent):
        # One that was baked in this run pushes its own.
        if session.read(base.name).get("status") == "cached":
            yield from _records(shop, session, base.name)
    else:
        record = BaseRecord.from_json(state["base"])
        yield f"base {record.suite}", record, bool(state.get("base_was_made"))
    restored = state.get("restored")
    steps = [LayerStep.from_json(value) for value in state["steps"]]
    for step, key in zip(steps, state["keys"], strict=True):
        if step.uncacheable:
            # Its key, and those of all that is built on it, never come again.
            return
        layer = shop.cache.layer(key)
        if layer is not None:
            yield step.name, layer, restored is not None and step.name not in restored
