# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions that look after a home's store share."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from ..module_utils.core.errors import DriverError
from .bake_action import BakeAction
from .held_versions import held_versions

WAIT = 600.0
"""Seconds that a repair or a collection waits for bakes that go on, unless told otherwise."""


class StoreAction(BakeAction):
    """An action that takes the store's lock itself, as it needs it."""

    def _store(self, task_vars: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def number(self, name: str, default: float) -> float:
        """Return the option *name*, a number of 0 or more; DriverError when it is none."""
        given = self._task.args.get(name, default)
        with contextlib.suppress(TypeError, ValueError):
            value = float(given)
            if 0 <= value < float("inf"):
                return value
        raise DriverError(f"The option {name} must be a number of 0 or more, not {given!r}.")

    def versions(self, task_vars: Mapping[str, Any]) -> dict[str, str]:
        """Return what the store is to have: the digest of each version's index."""
        return held_versions(self.shop(task_vars), self.catalog(task_vars))
