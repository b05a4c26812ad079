# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions that read and change the catalog share."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.build.engine import ImageFacts
from ..module_utils.build.sealing import reference
from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.changes import Judge
from ..module_utils.catalog.documents import read_time
from ..module_utils.catalog.repository import Catalog
from ..module_utils.catalog.version import Version
from ..module_utils.core.errors import DriverError
from .bake_action import BakeAction, display

if TYPE_CHECKING:
    from ..module_utils.oci.registry.client import Registry


class CatalogAction(BakeAction):
    """An action on the catalog. Its options are texts, as a command line gives them."""

    def text(self, name: str) -> str | None:
        """Return the option *name*, None when it is not given or empty."""
        value = self._task.args.get(name)
        return None if value is None or not str(value).strip() else str(value).strip()

    def required(self, name: str) -> str:
        """Return the option *name*; DriverError says with which variable to give it."""
        value = self.text(name)
        if value is None:
            raise DriverError(f"The option {name} is not given.", hint=f"-e kiln_{name}=...")
        return value

    def moment(self, name: str) -> datetime | None:
        """Return the time that the option *name* says."""
        value = self.text(name)
        return None if value is None else read_time(value, f"The option {name}")

    def listed(self, name: str) -> list[str]:
        """Return the option *name*, one text or a list of them, as a list."""
        value = self._task.args.get(name)
        if value is None or value == "":
            return []
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [str(one) for one in value]
        return [part.strip() for part in str(value).split(",") if part.strip()]

    def number(self, name: str, default: float) -> float:
        """Return the option *name*, a number of 0 or more; DriverError when it is none."""
        given = self._task.args.get(name, default)
        with contextlib.suppress(TypeError, ValueError):
            value = float(given)
            if 0 <= value < float("inf"):
                return value
        raise DriverError(f"The option {name} must be a number of 0 or more, not {given!r}.")

    def known_image(self, catalog: Catalog, image: str) -> str:
        """Return *image*; DriverError when the catalog has none of that name."""
        names = catalog.images()
        if image not in names:
            raise DriverError(
                f"The catalog has no image {image}.",
                hint=f"It has {', '.join(names)}." if names else "Nothing was baked yet.",
            )
        return image

    def show(self, lines: Sequence[str]) -> None:
        """Print *lines* as they are, where the option show asks for it."""
        if boolean(self._task.args.get("show", False)):
            display.display("\n" + "\n".join(lines) + "\n")

    def judge(self, task_vars: Mapping[str, Any]) -> Judge:
        """What evaluates the policies of channels; that nothing is revoked is seen to anyway."""

        def judge(version: Version, channel: str, policy: Mapping[str, Any]) -> Sequence[str]:
            if not policy:
                return ()
            from .judging import channel_judge

            whole = channel_judge(self.shop(task_vars), self.catalog(task_vars))
            return whole(version, channel, policy)

        return judge

    def pulled(self, catalog: Catalog, wanted: bool = True) -> list[str]:
        """Take over what the team's remote has; return warnings when it cannot be reached.

        What is here still tells something. An action that changes the catalog does not use this.
        """
        if not wanted:
            return []
        try:
            catalog.pull()
        except DriverError as error:
            return [f"What is said is as of the last time: {error}"]
        return []

    def follow_tags(
        self,
        shop: Workshop,
        catalog: Catalog,
        image: str,
        task_vars: Mapping[str, Any],
        *,
        planned: Mapping[str, str],
    ) -> dict[str, list[str]]:
        """Let ``kiln/IMAGE:CHANNEL`` in the engine, and the registry's tags, follow the catalog.

        In check mode it is only said. The catalog is what counts: an engine or a registry that
        does not answer is a warning, and the next run brings it up to date.

        :param planned: versions by channel that the catalog has, or has not yet in check mode.
        """
        numbers = {name: one.version for name, one in catalog.channels(image).items()}
        wanted = {
            channel: catalog.version(image, number)
            for channel, number in {**numbers, **planned}.items()
        }
        result: dict[str, list[str]] = {"engine": [], "registry": [], "warnings": []}
        try:
            result["engine"] = self.follow_engine(shop, image, wanted)
        except DriverError as error:
            result["warnings"].append(f"The engine's tags were not moved: {error}")
        try:
            result["registry"] = self._follow_registry(image, wanted, task_vars)
        except DriverError as error:
            result["warnings"].append(f"The registry's tags were not moved: {error}")
        return result

    def registry(self, image: str, task_vars: Mapping[str, Any]) -> Registry | None:
        """The client of *image*'s repository in ``kiln_registry``, None when there is none."""
        place = self._option(task_vars, "kiln_registry")
        if not place:
            return None
        # They take long to load, which who has no registry need not wait for.
        from ..module_utils.oci.registry.client import connect
        from ..module_utils.oci.registry.name import Repository

        repository = Repository.parse(str(place)).child(image)
        return connect(repository, self.registry_access(task_vars))

    def _follow_registry(
        self, image: str, wanted: Mapping[str, Version | None], task_vars: Mapping[str, Any]
    ) -> list[str]:
        registry = self.registry(image, task_vars)
        if registry is None:
            return []
        from ..module_utils.oci.registry.tags import follow

        digests = {channel: one.index for channel, one in wanted.items() if one is not None}
        moves = follow(registry, digests, looks=bool(self._task.check_mode))
        numbers = {one.index: one.number for one in wanted.values() if one is not None}
        return [
            f"{registry.repository}:{move.tag} is {numbers.get(str(move.after), move.after)}"
            for move in moves
        ]

    def follow_engine(
        self,
        shop: Workshop,
        image: str,
        wanted: Mapping[str, Version | None],
        *,
        coming: Version | None = None,
    ) -> list[str]:
        """Let the channels' names in the engine follow *wanted*; say each thing that is done.

        In check mode it is only said.

        :param coming: a version that the engine is to have, and has not yet in check mode.
        """
        engine = shop.engine
        names = {channel: reference(image, channel) for channel in wanted}
        sources = {c: reference(image, v.number) for c, v in wanted.items() if v is not None}
        there = {*names.values(), *sources.values()} & set(engine.references(f"kiln/{image}"))
        known = {name: engine.image(name) for name in sorted(there)}
        if coming is not None:
            there_soon = ImageFacts(coming.config, ())
            known.setdefault(reference(image, coming.number), there_soon)
        said = []
        for channel, name in names.items():
            before, source = known.get(name), sources.get(channel)
            target = known.get(source) if source is not None else None
            if target is None and before is not None:
                # Better no name than one that means another version than the catalog says.
                said.append(f"{name} is removed, as the engine has not {source}")
                if not self._task.check_mode:
                    engine.remove_image(name)
            elif target is not None and (before is None or before.id != target.id):
                said.append(f"{name} is {source}")
                if not self._task.check_mode:
                    engine.tag_image(str(source), name)
        return said
