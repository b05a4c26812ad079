# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions that an action of trust is about, as the catalog and the store have them."""

from __future__ import annotations

from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.repository import Catalog
from ..module_utils.catalog.version import Version
from ..module_utils.core.errors import DriverError
from ..module_utils.oci.descriptor import INDEX, Descriptor
from ..module_utils.oci.image import Image, read_image
from .catalog_action import CatalogAction


def wanted_version(action: CatalogAction, catalog: Catalog) -> Version:
    """Return the version that the options image, version and channel name.

    Without a version it is what the channel points to, without either the newest.
    """
    image = action.known_image(catalog, action.required("image"))
    number, channel = action.text("version"), action.text("channel")
    if number is None and channel is not None:
        found = catalog.channels(image).get(catalog.settings().check(channel))
        if found is None:
            raise DriverError(f"The channel {channel} of {image} points to nothing yet.")
        number = found.version
    if number is None:
        number = str(catalog.numbers(image)[-1])
    version = catalog.version(image, number)
    if version is None:
        raise DriverError(f"The catalog has no version {number} of {image}.")
    return version


def stored_image(shop: Workshop, version: Version) -> Image:
    """Return the image of *version* from the store; DriverError when it is not there."""
    path = shop.layout.path(version.index)
    if not path.exists():
        raise DriverError(
            f"{version.image} {version.number} is not in the store {shop.layout.root}.",
            hint="Pull it first (kiln.immutable.pull), or bake it here.",
        )
    return read_image(shop.layout, Descriptor(INDEX, version.index, path.stat().st_size))
