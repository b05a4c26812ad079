# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What push and pull of versions share: which version, and which repository."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..module_utils.catalog.repository import Catalog
from ..module_utils.catalog.version import Version
from ..module_utils.core.errors import DriverError
from .catalog_action import CatalogAction

if TYPE_CHECKING:
    from ..module_utils.oci.registry.client import Registry


@dataclass(frozen=True, slots=True)
class Transfer:
    """A version on its way between a home and a registry.

    :param warnings: what the user should know of the catalog that named it.
    """

    catalog: Catalog
    version: Version
    registry: Registry
    warnings: tuple[str, ...]

    @property
    def reference(self) -> str:
        """What the version is called in the registry."""
        return f"{self.registry.repository}:{self.version.number}"

    @property
    def name(self) -> str:
        """What the store calls the version, as sealing does."""
        return f"{self.version.image}-{self.version.number}"

    def as_result(self) -> dict[str, Any]:
        """What both actions return."""
        return {
            "image": self.version.image,
            "version": self.version.number,
            "repository": str(self.registry.repository),
            "reference": self.reference,
            "digest": self.version.index,
            "warnings": list(self.warnings),
        }


class RegistryAction(CatalogAction):
    """An action that moves one version."""

    _VALID_ARGS = frozenset({"image", "version", "channel", "registry"})

    def transfer(self, task_vars: Mapping[str, Any]) -> Transfer:
        """Return the version and the repository that the options name."""
        catalog = self.catalog(task_vars)
        image = self.required("image")
        registry = self._repository(image, task_vars)
        warnings = tuple(self.pulled(catalog))
        version = self._version(catalog, self.known_image(catalog, image))
        return Transfer(catalog, version, registry, warnings)

    def _version(self, catalog: Catalog, image: str) -> Version:
        number, channel = self.text("version"), self.text("channel")
        if number and channel:
            raise DriverError("The options version and channel exclude each other.")
        if channel:
            known = catalog.channels(image)
            if channel not in known:
                raise DriverError(
                    f"{image} has no channel {channel} that points to a version.",
                    hint=f"It has: {', '.join(sorted(known))}." if known else "",
                )
            number = known[channel].version
        elif not number:
            numbers = catalog.numbers(image)
            if not numbers:
                raise DriverError(f"The catalog has no version of {image}.")
            number = str(numbers[-1])
        found = catalog.version(image, number)
        if found is None:
            raise DriverError(
                f"The catalog has no version {number} of {image}.",
                hint="Versions are named by their numbers, such as 1.0.3.",
            )
        return found

    def _repository(self, image: str, task_vars: Mapping[str, Any]) -> Registry:
        place = self.text("registry")
        found = self.registry(image, {**task_vars, "kiln_registry": place} if place else task_vars)
        if found is None:
            raise DriverError(
                "No registry is named.",
                hint="Set kiln_registry, as in -e kiln_registry=registry.example.org/team",
            )
        return found
