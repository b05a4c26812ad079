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
from .bake_action import BakeAction

if TYPE_CHECKING:
    from ..module_utils.oci.registry.client import Registry


@dataclass(frozen=True, slots=True)
class Transfer:
    """A version on its way between a home and a registry."""

    catalog: Catalog
    version: Version
    registry: Registry

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
        }


class RegistryAction(BakeAction):
    """An action that moves one version. Its options are texts, as a command line gives them."""

    _VALID_ARGS = frozenset({"image", "version", "channel", "registry"})

    def transfer(self, task_vars: Mapping[str, Any]) -> Transfer:
        """Return the version and the repository that the options name."""
        catalog = self.catalog(task_vars)
        return Transfer(catalog, self._version(catalog), self._registry(task_vars))

    def _version(self, catalog: Catalog) -> Version:
        image, number, channel = (self._text(name) for name in ("image", "version", "channel"))
        if not image:
            raise DriverError("The option image is not given.", hint="-e kiln_image=web")
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
                raise DriverError(
                    f"The catalog has no version of {image}.",
                    hint=f"It has: {', '.join(catalog.images())}." if catalog.images() else "",
                )
            number = str(numbers[-1])
        found = catalog.version(image, number)
        if found is None:
            raise DriverError(
                f"The catalog has no version {number} of {image}.",
                hint="Versions are named by their numbers, such as 1.0.3.",
            )
        return found

    def _registry(self, task_vars: Mapping[str, Any]) -> Registry:
        place = self._text("registry") or self._option(task_vars, "kiln_registry")
        if not place:
            raise DriverError(
                "No registry is named.",
                hint="Set kiln_registry, as in -e kiln_registry=registry.example.org/team",
            )
        from ..module_utils.oci.registry.client import connect  # noqa: PLC0415  # loads slowly
        from ..module_utils.oci.registry.name import Repository  # noqa: PLC0415

        repository = Repository.parse(str(place)).child(str(self._text("image")))
        return connect(repository, self.registry_access(task_vars))

    def _text(self, name: str) -> str:
        value = self._task.args.get(name)
        return "" if value is None else str(value).strip()
