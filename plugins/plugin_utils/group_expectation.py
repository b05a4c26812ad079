# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the instances of a group should be, from its definition, and where they are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from ..module_utils.core.errors import DriverError
from ..module_utils.drift.comparison import Expectation
from ..module_utils.drift.findings import Finding, Kind, Rule
from ..module_utils.drift.instance import Instance, find_instances
from ..module_utils.drift.settings import ENV, GIVEN, image_settings
from ..module_utils.groups.backends.client import GROUP_LABEL
from ..module_utils.groups.backends.docker_options import DockerOptions
from ..module_utils.groups.backends.instances import (
    DIGEST_LABEL,
    INSTANCE_LABEL,
    SETTINGS_LABEL,
    SLOT_LABEL,
    VERSION_LABEL,
    health_options,
    tmpfs_options,
    volume_name,
)
from ..module_utils.groups.definition_model import GroupDefinition
from .drift_check import client_of


def group_rules(definition: GroupDefinition) -> tuple[Rule, ...]:
    """Return what the definition lets pass."""
    return tuple(Rule(Kind(one.kind), one.pattern, one.reason) for one in definition.ignored_drift)


def group_instances(definition: GroupDefinition) -> list[tuple[str, Instance]]:
    """Return the engines' addresses and the instances on them; hooks and balancers are none.

    DriverError when an engine does not answer.
    """
    found: dict[str, tuple[str, Instance]] = {}
    for host in definition.backend.hosts or ("",):
        label = f"{GROUP_LABEL}={definition.name}"
        for one in find_instances(label=label, client=client_of(host)):
            # Two addresses may lead to one engine.
            if INSTANCE_LABEL in one.labels:
                found.setdefault(one.id, (host, one))
    return list(found.values())


def recorded_version(instance: Instance) -> tuple[str, str]:
    """Return number and digest of the version that *instance* was started from."""
    return instance.labels.get(VERSION_LABEL, ""), instance.labels.get(DIGEST_LABEL, "")


def of_group(
    expected: Expectation,
    definition: GroupDefinition,
    instance: Instance,
    config: Mapping[str, Any],
) -> Expectation:
    """Return *expected* with what the group's definition says of *instance*.

    :param config: the ``config`` of the image's configuration.
    """
    labels = config.get("Labels") or {}
    slot = instance.labels.get(SLOT_LABEL)
    name = instance.labels[INSTANCE_LABEL]
    volumes = {
        one.path: volume_name(definition, one, int(slot) if slot else None)
        for one in definition.volumes
        if slot or one.access == "shared"
    }
    folders = dict.fromkeys(str(PurePosixPath(one.path).parent) for one in definition.secrets)
    volumes |= {folder: f"{instance.name}-secrets-{at}" for at, folder in enumerate(folders)}
    named = {*volumes, *definition.hardening.tmpfs}
    # The engine gives a volume to what the image declares and nobody names.
    nameless = {path: "" for path in config.get("Volumes") or () if path not in named}
    memory = [word.partition(":")[0] for word in tmpfs_options(definition, labels)[1::2]]
    settings = {
        **expected.settings,
        **_limits(definition),
        **_environment(definition, config),
        "networks": [DockerOptions.of(definition).network_name(definition.name)],
        "tmpfs": sorted(memory),
        "volumes": sorted(f"{source}:{path}" for path, source in {**volumes, **nameless}.items()),
    }
    if definition.command is not None:
        settings["command"] = list(definition.command)
    check = _health(definition)
    if check is not None:
        settings["healthcheck"] = check
    state = {path.strip("/") for path in (*volumes, *memory)}
    if not name:
        raise DriverError(f"The container {instance.name} does not say which instance it is.")
    return replace(
        expected, state=expected.state | state, settings=settings, whole_environment=True
    )


def other_definition(definition: GroupDefinition, instance: Instance) -> list[Finding]:
    """Return that *instance* was started with settings that the definition has no more."""
    if instance.labels.get(SETTINGS_LABEL) == definition.settings:
        return []
    detail = "it was started with other settings than the definition has; a rotation replaces it"
    return [Finding(Kind.SETTING, "definition", "changed", detail)]


def _limits(definition: GroupDefinition) -> dict[str, Any]:
    allowed, limits = definition.hardening, definition.resources
    found: dict[str, Any] = {
        "read_only": allowed.read_only,
        "cap_drop": sorted(allowed.drop),
        "cap_add": sorted(allowed.add),
        "security_opt": ["no-new-privileges"] if allowed.no_new_privileges else [],
        "memory": limits.memory or 0,
        "cpus": limits.cpus or 0.0,
        "pids_limit": limits.pids,
        "restart": "unless-stopped",
    }
    return {**found, "user": allowed.user} if allowed.user else found


def _environment(definition: GroupDefinition, config: Mapping[str, Any]) -> dict[str, Any]:
    images = {name for name in image_settings(config) if name.startswith(ENV)}
    # The engine gives every process a path.
    found: dict[str, Any] = {} if f"{ENV}PATH" in images else {f"{ENV}PATH": GIVEN}
    for one in definition.environment:
        found[ENV + one.name] = one.value if one.reference is None else GIVEN
    return found


def _health(definition: GroupDefinition) -> list[str] | None:
    """Return the check that the engine is told, None where it is the image's own."""
    options = health_options(definition.health)
    if not options:
        return None
    return ["NONE"] if options == ["--no-healthcheck"] else ["CMD-SHELL", options[1]]
