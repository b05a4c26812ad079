# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let old versions go; see the module of the same name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..module_utils.build.store_lock import store_in_use
from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.pruning import Pruning, decide, prune_catalog
from ..module_utils.catalog.repository import Catalog
from ..module_utils.catalog.retention import RetentionPolicy
from ..module_utils.core.errors import DriverError
from ..module_utils.oci.references import closure
from ..module_utils.report.catalog_tables import render_prune
from ..plugin_utils.catalog_action import CatalogAction
from ..plugin_utils.pruning import (
    Freed,
    collect_pruned,
    forget_in_engine,
    forget_in_store,
    freed,
    pruned_versions,
)
from ..plugin_utils.store_action import WAIT

DAYS = 30.0
_DIGEST = re.compile("sha256:[0-9a-f]{64}")


class ActionModule(CatalogAction):
    """The action ``kiln.immutable.image_prune``."""

    _VALID_ARGS = frozenset(
        {
            "image",
            "last",
            "days",
            "channel",
            "keep",
            "images",
            "reason",
            "cache_days",
            "wait",
            "show",
        }
    )

    def _store(self, task_vars: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Plan; outside of check mode let go, from the catalog down to the bytes."""
        shop, catalog = self.shop(task_vars), self.catalog(task_vars)
        look = bool(self._task.check_mode)
        cache_days = self.number("cache_days", DAYS)
        wait = self.number("wait", WAIT)
        for name in self.listed("image"):
            self.known_image(catalog, name)

        def judge() -> Pruning:
            return decide(
                catalog,
                self._policy,
                only=self.listed("image"),
                referred=_referred(shop, catalog, self.listed("keep"), self.listed("images")),
            )

        with store_in_use(shop.home):
            catalog.pull()
            before = judge()
            decisions = freed(shop, before, days=cache_days)
            warnings: list[str] = []
            if look:
                pruning, changed = before, bool(before.going)
            else:
                pruning, changed = prune_catalog(catalog, judge, reason=self.text("reason") or "")
            pruned = pruned_versions(catalog, pruning)
            deleted, garbage = self._prune_registry(shop, pruned, task_vars, warnings)
            engine, problems = forget_in_engine(shop, pruned, look=look)
            tags = [] if look else forget_in_store(shop, pruned, pruning.staying)
        got = Freed(0, 0)
        # Also what a killed run left: its records are gone, and its bytes are not.
        left = {*pruned.values()} - {*pruning.staying.values()}
        if not look and any(shop.layout.has(index) for index in left):
            got = collect_pruned(shop, catalog, days=cache_days, wait=wait)
        result: dict[str, Any] = {
            "changed": bool(changed or engine or tags or deleted),
            "versions": [one.as_json() for one in decisions],
            "pruned": [f"{one.image} {one.number}" for one in pruning.going],
            "bytes": sum(one.bytes for one in decisions),
            "freed": got.bytes,
            "engine": engine,
            "registry": deleted,
            "garbage": garbage,
        }
        result["table"] = render_prune(result["versions"], result["bytes"], look=look)
        self.show([*result["table"], *garbage])
        if warnings or problems:
            result["warnings"] = [*warnings, *problems]
        if self._task.diff:
            lines = [
                f"{one.image} {one.number} {'stays' if one.keep else f'goes, {one.bytes} bytes'}:"
                f" {'; '.join(one.rules)}\n"
                for one in decisions
            ]
            result["diff"] = {"prepared": "".join(lines)}
        return result

    def _prune_registry(
        self,
        shop: Workshop,
        pruned: Mapping[tuple[str, str], str],
        task_vars: Mapping[str, Any],
        warnings: list[str],
    ) -> tuple[list[str], list[str]]:
        """Delete pruned versions from the registry; return them, and the garbage that stays."""
        deleted: list[str] = []
        garbage: list[str] = []
        for image in sorted({name for name, _number in pruned}):
            registry = self.registry(image, task_vars)
            if registry is None:
                continue
            from ..module_utils.oci.registry.family import known_documents
            from ..module_utils.oci.registry.tags import prune

            mine = {number: index for (name, number), index in pruned.items() if name == image}
            # What the store still has, a killed run may have left half there.
            known = known_documents(shop.layout, mine.values())
            try:
                there = set(registry.tags())
                going = {
                    index: [number]
                    for number, index in mine.items()
                    if number in there or index in known
                }
                looks = bool(self._task.check_mode)
                done = prune(registry, going, known=known, looks=looks) if going else None
            except DriverError as error:
                warnings.append(f"The registry was not cleaned: {error}")
                continue
            if done is None:
                continue
            deleted += [f"{registry.repository}@{digest}" for digest in done.deleted]
            for digest, why in {**done.kept, **done.refused}.items():
                garbage.append(f"{registry.repository}@{digest} stays: {why}")
        return deleted, garbage

    def _policy(self, policy: RetentionPolicy) -> RetentionPolicy:
        """What the catalog says, changed by the options."""
        last, channel = self.number("last", policy.last), self.number("channel", policy.channel)
        if not last.is_integer() or not channel.is_integer() or channel < 1:
            raise DriverError("The options last and channel are whole numbers, channel from 1 on.")
        days = self.number("days", policy.days)
        return replace(policy, last=int(last), channel=int(channel), days=days)


def _referred(
    shop: Workshop, catalog: Catalog, keep: list[str], definitions: list[str]
) -> dict[str, str]:
    """Return the indexes that the option keep, or a definition or lock, names, and which."""
    found = {}
    for one in keep:
        image, _space, number = one.partition(" ")
        version = catalog.version(image, number) if number else None
        if number and version is None:
            raise DriverError(f"The option keep names {one}, which the catalog has not.")
        found[one if version is None else version.index] = "the option keep"
    named: dict[str, str] = {}
    for place in definitions:
        path = Path(place).expanduser()
        for file in sorted(path.glob("*.yml")) if path.is_dir() else [path]:
            text = file.read_text("utf-8", "replace")
            named.update(dict.fromkeys(_DIGEST.findall(text), file.name))
    if named:
        # An image may be named by its index, or by the manifest in it.
        for index in set(catalog.indexes().values()):
            documents = {index}
            if shop.layout.has(index):
                documents |= closure(shop.layout, index).sizes.keys()
            why = next((named[digest] for digest in sorted(documents & named.keys())), None)
            if why is not None:
                found[index] = why
    return found
