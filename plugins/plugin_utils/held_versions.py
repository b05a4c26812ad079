# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the catalog's versions a home is to have: not those that a team baked elsewhere."""

from __future__ import annotations

from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.repository import Catalog


def held_versions(shop: Workshop, catalog: Catalog) -> dict[str, str]:
    """Return the digest of the index of each version that the store is to have, by ``NAME NUMBER``.

    Without a remote, these are all. With one, those of which the store has the index or the tag:
    a version that was baked or pulled here has both, and must lose both to be forgotten.
    """
    versions = catalog.indexes()
    shared = bool(catalog.remote) or ((catalog.root / ".git").exists() and catalog.git.has_remote())
    if not shared:
        return versions
    layout = shop.layout
    tags = layout.tags() if (layout.root / "index.json").exists() else {}
    return {
        name: index
        for name, index in versions.items()
        if name.replace(" ", "-") in tags or layout.has(index)
    }
