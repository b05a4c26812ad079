# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping the package pool within its limit, which the catalog has a word in."""

from __future__ import annotations

from ..module_utils.build.definition_model import Definition
from ..module_utils.build.lock_file import read_lock
from ..module_utils.build.pool import DEFAULT_LIMIT
from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.repository import Catalog


def shrink_pool(shop: Workshop, catalog: Catalog, definition: Definition) -> None:
    """Let packages leave the pool that is over its limit, the ones unused for longest first.

    What the lock of *definition* or of a version in the catalog names stays.
    """

    def needed() -> set[str]:
        lock = read_lock(definition)
        packages = (*lock.packages, *lock.toolkit) if lock is not None else ()
        own = {package.sha256 for package in packages}
        return own | shop.pool.needed(lambda image: {str(one) for one in catalog.numbers(image)})

    shop.pool.shrink(needed, DEFAULT_LIMIT if shop.pool_limit is None else shop.pool_limit)
