# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the instances of a group should be, from its definition, and where they are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from ..module_utils.drift.comparison import Expectation
from ..module_utils.drift.findings import Finding, Kind, Rule
from ..module_utils.drift.instance import Instance, find_instances
from ..module_utils.drift.settings import ENV, GIVEN
from ..module_utils.groups import model
from ..module_utils.groups.backends.client import GROUP_LABEL
from ..module_utils.groups.backends.docker_options import DockerOptions
from ..module_utils.groups.backends.instances import (
    INSTANCE_LABEL,
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


def of_group(
    expected: Expectation,
    definition: GroupDefinition,
    member: model.Instance,
    instance: Instance,
    config: Mapping[str, Any],
) -> Expectation:
    """Return *expected* with what the group's definition says of *instance*.

    :param member: the same instance, as the group's backend knows it.
    :param config: the ``config`` of the image's configuration.
    """
    labels = config.get("Labels") or {}
    volumes = {
        one.path: volume_name(definition, one, member.slot)
        for one in definition.volumes
        if member.slot is not None or one.access == "shared"
    }
    folders = dict.fromkeys(str(PurePosixPath(one.path).parent) for one in definition.secrets)
    memory = [word.partition(":")[0] for word in tmpfs_options(definition, labels)[1::2]]
    settings = {
        **expected.settings,
        **_limits(definition),
        **_environment(definition),
    }
    if definition.command is not None:
        settings["command"] = list(definition.command)
    check = _health(definition)
    if check is not None:
        settings["healthcheck"] = check
    if definition.backend.kind == "docker":
        # Other platforms have ways of their own for these.
        given = {folder: f"{instance.name}-secrets-{at}" for at, folder in enumerate(folders)}
        named = {*volumes, *folders, *definition.hardening.tmpfs}
        # The engine gives a volume to what the image declares and nobody names.
        nameless = {path: "" for path in config.get("Volumes") or () if path not in named}
        mounted = {**volumes, **given, **nameless}
        settings |= {
            "networks": [DockerOptions.of(definition).network_name(definition.name)],
            "tmpfs": sorted(memory),
            "volumes": sorted(f"{source}:{path}" for path, source in mounted.items()),
            "security_opt": (
                ["no-new-privileges"] if definition.hardening.no_new_privileges else []
            ),
            "pids_limit": definition.resources.pids,
            "restart": "unless-stopped",
        }
    state = {path.strip("/") for path in (*volumes, *folders, *memory)}
    return replace(
        expected, state=expected.state | state, settings=settings, whole_environment=True
    )


def other_definition(definition: GroupDefinition, member: model.Instance) -> list[Finding]:
    """Return that an instance was started with settings that the definition has no more."""
    if member.settings == definition.settings:
        return []
    detail = "it was started with other settings than the definition has; a rotation replaces it"
    return [Finding(Kind.SETTING, "definition", "changed", detail)]


def _limits(definition: GroupDefinition) -> dict[str, Any]:
    allowed, limits = definition.hardening, definition.resources
    found: dict[str, Any] = {
        "read_only": allowed.read_only,
        "cap_drop": sorted(allowed.drop),
        "cap_add": sorted(allowed.add),
        "memory": limits.memory or 0,
        "cpus": limits.cpus or 0.0,
    }
    return {**found, "user": allowed.user} if allowed.user else found


def _environment(definition: GroupDefinition) -> dict[str, Any]:
    return {
        ENV + one.name: one.value if one.reference is None else GIVEN
        for one in definition.environment
    }


def _health(definition: GroupDefinition) -> list[str] | None:
    """Return the check that the engine is told, None where it is the image's own."""
    options = health_options(definition.health)
    if not options:
        return None
    return ["NONE"] if options == ["--no-healthcheck"] else ["CMD-SHELL", options[1]]
