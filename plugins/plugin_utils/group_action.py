# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions on instance groups share."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..module_utils.build.sealing import reference
from ..module_utils.build.store_lock import store_in_use
from ..module_utils.catalog.group_changes import GroupState, record_group
from ..module_utils.catalog.repository import Catalog
from ..module_utils.catalog.version import Version
from ..module_utils.core.errors import DriverError
from ..module_utils.groups.backend import Backend
from ..module_utils.groups.backends.docker import DockerBackend
from ..module_utils.groups.backends.swarm import SwarmBackend
from ..module_utils.groups.definition import as_then, from_values, load, with_image, with_size
from ..module_utils.groups.definition_model import GroupDefinition
from ..module_utils.groups.engine import Rotation
from ..module_utils.groups.gates import Answer, ask
from ..module_utils.groups.holder import is_gone, this_process
from ..module_utils.groups.journal import Journal
from ..module_utils.groups.judgement import Fate
from ..module_utils.groups.model import Observed, Release
from ..module_utils.groups.notes import Generation
from ..module_utils.groups.notification import tell
from ..module_utils.groups.plan_text import render
from ..module_utils.groups.planner import RotationPlan
from ..module_utils.groups.policy import Gate
from ..module_utils.groups.run import Edge
from ..module_utils.groups.work import Result
from .catalog_action import CatalogAction
from .evidence import Evidence

BACKENDS: Mapping[str, Callable[[GroupDefinition], Backend]] = {
    "docker": DockerBackend,
    "swarm": SwarmBackend,
}


class GroupAction(CatalogAction):
    """An action on an instance group. It works long, so it leaves the store's lock alone."""

    def _store(self, task_vars: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def definition(self) -> GroupDefinition:
        """Return the definition that the option group gives, with what other options say of it."""
        given = self._task.args.get("group")
        if given is None or given == "":
            raise DriverError("The option group is not given.", hint="-e kiln_group=groups/web.yml")
        found = from_values(given, "group") if isinstance(given, Mapping) else load(str(given))
        version, channel = self.text("version"), self.text("channel")
        if version is not None and channel is not None:
            raise DriverError("The options version and channel are both given; give one.")
        if version is not None:
            found = with_image(found, version=version)
        elif channel is not None:
            found = with_image(found, channel=channel)
        if self.text("size") is not None:
            found = with_size(found, int(self.number("size", 0)))
        return found

    def backend(self, definition: GroupDefinition) -> Backend:
        """Return the backend that the definition names."""
        made = BACKENDS.get(definition.backend.kind)
        if made is None:
            raise DriverError(
                f"{definition.at('backend')} is {definition.backend.kind}, which is not one of "
                f"{', '.join(BACKENDS)}."
            )
        return made(definition)

    def release(self, catalog: Catalog, definition: GroupDefinition) -> Release:
        """Return the release that the definition's image is now."""
        return release_of(self.wanted(catalog, definition))

    def wanted(self, catalog: Catalog, definition: GroupDefinition) -> Version:
        """Return the version that the definition's image is now."""
        choice = definition.image
        self.known_image(catalog, choice.name)
        where = definition.at("image")
        if choice.digest:
            found = catalog.find(choice.name, choice.digest)
        else:
            number = choice.version
            if choice.channel:
                channel = catalog.settings().check(choice.channel)
                there = catalog.channels(choice.name).get(channel)
                if there is None:
                    raise DriverError(
                        f"{where}: the channel {channel} of {choice.name} points to nothing yet.",
                        hint="Promote a version first.",
                    )
                number = there.version
            found = catalog.version(choice.name, number)
        if found is None:
            raise DriverError(f"{where}: the catalog has no version {choice}.")
        return found

    def rotation(
        self,
        task_vars: Mapping[str, Any],
        catalog: Catalog,
        backend: Backend,
        definition: GroupDefinition,
        release: Release,
        *,
        plain: bool = False,
    ) -> Rotation:
        """Return the rotation of the group, with all that it touches."""
        journal = Journal(self.journal_path(task_vars, definition.name), echo=self._echo)
        user = self.option(task_vars, "kiln_user") or ""
        rotation = Rotation(
            backend,
            definition,
            release,
            this_process(str(user)),
            journal=journal,
            edge=Edge(
                ask=lambda gate, seconds: self._ask(definition, release, gate, seconds),
                evidence=Evidence(self.shop(task_vars), catalog, definition, self.say),
            ),
            judge=lambda one: self._judged(task_vars, catalog, definition, one),
            tell=lambda event, message: self._tell(catalog, backend, definition, event, message),
            earlier=lambda generation: self._earlier(definition, generation),
            plain=plain,
            is_gone=is_gone,
        )
        saved = self.text("apply")
        return replace(rotation, saved=_read_plan(Path(saved).expanduser())) if saved else rotation

    def journal_path(self, task_vars: Mapping[str, Any], group: str) -> Path:
        """Return where the journal of *group* is."""
        return self.shop(task_vars).home.root / "groups" / f"{group}.log"

    def planned(self, plan: RotationPlan) -> dict[str, Any]:
        """Return what an action says of a plan."""
        lines = render(plan)
        self.show(lines)
        result: dict[str, Any] = {
            "changed": plan.changes,
            "group": plan.group,
            "image": plan.release.image,
            "version": plan.release.version,
            "plan": plan.document(),
            "table": lines,
        }
        if self._task.diff:
            result["diff"] = difference(plan)
        return result

    def ended(self, result: Result, definition: GroupDefinition, journal: Path) -> dict[str, Any]:
        """Return what an action says of a rotation that ended."""
        said: dict[str, Any] = {
            "changed": result.changed,
            "group": definition.name,
            "image": result.plan.release.image,
            "version": result.plan.release.version,
            "ending": result.ending.value,
            "cause": None if result.cause is None else result.cause.value,
            "message": result.message,
            "plan": result.plan.document(),
            "table": render(result.plan),
            "started": result.started,
            "stopped": result.stopped,
            "lowest_capacity": result.lowest,
            "highest_count": result.highest,
            "seconds": result.seconds,
            "journal": str(journal),
        }
        if self._task.diff:
            said["diff"] = difference(result.plan)
        if result.warnings:
            said["warnings"] = list(result.warnings)
        if not result.succeeded:
            said.update(failed=True, msg=result.message)
        return said

    def record(
        self, catalog: Catalog, definition: GroupDefinition, release: str, observed: Observed
    ) -> list[str]:
        """Write down in the catalog what the group runs; return warnings when that cannot be.

        What runs is the truth; that the catalog does not know yet makes no rotation a failed one.

        :param release: the version that is wanted.
        """
        there = {one.version for one in observed.instances if one.alive}
        running = [release] if release in there or not there else []
        running += sorted(there - {release})
        state = GroupState(
            definition.name,
            definition.image.name,
            running,
            sum(one.alive for one in observed.instances),
            definition.image.channel or None,
        )
        try:
            record_group(catalog, state)
        except DriverError as error:
            return [f"The catalog does not know yet what {definition.name} runs: {error}"]
        return []

    def _earlier(
        self, definition: GroupDefinition, generation: Generation
    ) -> tuple[GroupDefinition, Backend]:
        then = as_then(definition, generation.document)
        return then, self.backend(then)

    def _echo(self, line: str) -> None:
        if self._task.args.get("show"):
            self.say(line)

    def _ask(
        self, definition: GroupDefinition, release: Release, gate: Gate, seconds: float
    ) -> Answer:
        environment = {
            "KILN_GROUP": definition.name,
            "KILN_IMAGE": release.image,
            "KILN_VERSION": release.version,
            "KILN_DIGEST": release.digest,
        }
        return ask(gate, seconds, environment)

    def _judged(
        self,
        task_vars: Mapping[str, Any],
        catalog: Catalog,
        definition: GroupDefinition,
        release: Release,
    ) -> Sequence[str]:
        """Return why *release* may not run: it is revoked, or fails its channel's policy."""
        version = catalog.version(release.image, release.version)
        if version is None:
            return ["the catalog has it no more."]
        found = []
        struck = catalog.revocation_of(version, catalog.now())
        if struck is not None:
            one, entry = struck
            found.append(f"{one.image} {one.number} is revoked ({entry.reason}).")
        channel = definition.image.channel
        policy = catalog.settings().policy(channel) if channel else {}
        if policy:
            with store_in_use(self.shop(task_vars).home, waiting=lambda: None):
                found += self.judge(task_vars)(version, channel, policy)
        return found

    def _tell(
        self,
        catalog: Catalog,
        backend: Backend,
        definition: GroupDefinition,
        event: str,
        message: Mapping[str, Any],
    ) -> Sequence[str]:
        """Have the catalog know what runs, and tell who wants to be told."""
        warnings: list[str] = []
        try:
            observed = backend.observe()
        except DriverError as error:
            warnings.append(f"What {definition.name} runs could not be recorded: {error}")
        else:
            wanted = str(message["version"])
            if event == "started":
                warnings += self._record_beginning(catalog, definition, wanted, observed)
            else:
                warnings += self.record(catalog, definition, wanted, observed)
        return [*warnings, *tell(definition.notifications, event, message)]

    def _record_beginning(
        self, catalog: Catalog, definition: GroupDefinition, wanted: str, observed: Observed
    ) -> list[str]:
        there = sorted({one.version for one in observed.instances if one.alive} - {wanted})
        count = sum(one.alive for one in observed.instances)
        state = GroupState(
            definition.name,
            definition.image.name,
            [wanted, *there],
            count,
            definition.image.channel or None,
        )
        try:
            record_group(catalog, state)
        except DriverError as error:
            return [f"The catalog does not know of the rotation: {error}"]
        return []


def release_of(version: Version) -> Release:
    """Return *version* as instances are started from it."""
    return Release(
        version.image, version.number, version.index, reference(version.image, version.number)
    )


def difference(plan: RotationPlan) -> dict[str, str]:
    """Return what Ansible shows with --diff: the instances before and after."""
    before, after = [], []
    for verdict in plan.verdicts:
        one = verdict.instance
        line = f"{one.id} {one.version}"
        before.append(line)
        if verdict.fate is Fate.KEEP:
            after.append(line)
    after += [f"(new) {plan.release.version}"] * plan.begins
    return {
        "before_header": plan.group,
        "after_header": plan.group,
        "before": "".join(f"{line}\n" for line in before),
        "after": "".join(f"{line}\n" for line in after),
    }


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DriverError(f"The plan {path} cannot be read: {error}.") from error
    if not isinstance(document, dict):
        raise DriverError(f"The plan {path} is no plan.")
    return document
