# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which base an image starts from: one that is made or fetched, or another image of the bake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..core.errors import DriverError
from ..core.waiting import wait_for
from .base import base_key, ensure_base
from .definition_model import Definition, Parent
from .records import BaseRecord
from .session import Session
from .shared_cache import SharedCache

if TYPE_CHECKING:
    from .locking import Locking
    from .workshop import Workshop

PARENT_TIMEOUT = 4 * 3600.0
"""Seconds that an image waits for the one it is based on."""


def base_of(
    shop: Workshop,
    shared: SharedCache,
    session: Session,
    definition: Definition,
    architecture: str,
    refresh: bool,
    say: Callable[[str], None],
    locking: Locking,
) -> BaseRecord:
    """Return the base of *definition*: fetched, made, or waited for when it is another image.

    :param say: told in one line what takes long.
    """
    from . import locking as locks

    if not isinstance(definition.base, Parent):
        if not refresh:
            shared.fetch_base(base_key(definition.base, architecture, locking.base_key))
        return ensure_base(
            definition.base,
            home=shop.home,
            cache=shop.cache,
            engine=shop.engine,
            architecture=architecture,
            refresh=refresh,
            say=say,
            lock=locking.base_key,
            supply=locks.base_supply(shop, definition, architecture, locking),
        )
    name = definition.base.name

    def parent() -> BaseRecord | None:
        state = session.read(name)
        if state.get("status") == "failed":
            raise DriverError(f"Its base {name} failed, so {definition.name} was not baked.")
        if state.get("status") in ("sealed", "locked"):
            return _whole(shared, state)
        if not state.get("status"):
            raise DriverError(
                f"{definition.name} is based on {name}, which is not baked yet.",
                hint=f"Bake it too: --limit leaves it out (--limit {name},{definition.name}).",
            )
        return None

    state = session.read(name)
    if state.get("status") == "cached":
        return _whole(shared, state)
    return wait_for(f"the image {name}, base of {definition.name}", parent, timeout=PARENT_TIMEOUT)


def _whole(shared: SharedCache, state: Mapping[str, Any]) -> BaseRecord:
    base = BaseRecord.from_json(state["base"])
    shared.fetch_base(base.key)
    records = [shared.fetch_layer(key) for key in state["keys"]]
    if None in records:
        raise DriverError("A layer of the image's base is gone.", hint="Run the bake again.")
    layers = [r.layer for r in records if r is not None and r.layer is not None]
    return BaseRecord(
        key=(state["keys"] or [base.key])[-1],
        layers=(*base.layers, *layers),
        epoch=base.epoch,
        suite=base.suite,
        architecture=base.architecture,
        seconds=0.0,
    )


def base_was_made_at(shop: Workshop, definition: Definition, base: BaseRecord) -> float:
    """When the base was made, in seconds since 1970; long ago when it is another image."""
    if isinstance(definition.base, Parent):
        return 0.0
    return shop.cache.record_path("bases", base.key).stat().st_mtime
