# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance as a container: the options that make it, and what its inspection tells. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ...core.errors import DriverError
from ..balancer.container import ROLE_LABEL
from ..definition_model import GroupDefinition, HealthCheck, Volume
from ..model import Health, Instance, Life, Start
from .client import GROUP_LABEL, labels

INSTANCE_LABEL = "io.kiln.instance"
IMAGE_LABEL = "io.kiln.image"
VERSION_LABEL = "io.kiln.version"
DIGEST_LABEL = "io.kiln.digest"
SETTINGS_LABEL = "io.kiln.settings"
VALUES_LABEL = "io.kiln.values"
SLOT_LABEL = "io.kiln.slot"
HOST_LABEL = "io.kiln.host"
ADDRESS_LABEL = "io.kiln.address"
PORTS_LABEL = "io.kiln.ports"
STATE_LABEL = "io.kiln.state"
"""Of images: what of them is writable."""

_KEPT_RESULTS = 5  # of health checks, by the engine


@dataclass(frozen=True, slots=True)
class Address:
    """Where the balancer finds an instance.

    :param ports: what each port of the definition is at *host*.
    :param published: whether the ports are those of the engine's host; else *host* is the
        container's own address.
    """

    host: str
    ports: tuple[int, ...]
    published: bool = False


def container_name(group: str, instance: str) -> str:
    """Return what the engine calls the container of an instance."""
    return instance if instance.startswith(f"{group}-") else f"{group}-{instance}"


def create_options(
    definition: GroupDefinition,
    start: Start,
    address: Address,
    network: str,
    image_labels: Mapping[str, str],
) -> list[str]:
    """Return the options of ``docker run``, without environment and secrets."""
    marks = {
        GROUP_LABEL: definition.name,
        ROLE_LABEL: "instance",
        INSTANCE_LABEL: start.id,
        IMAGE_LABEL: start.release.image,
        VERSION_LABEL: start.release.version,
        DIGEST_LABEL: start.release.digest,
        SETTINGS_LABEL: definition.settings,
        HOST_LABEL: start.host,
        ADDRESS_LABEL: address.host,
        PORTS_LABEL: ",".join(map(str, address.ports)),
    }
    if start.slot is not None:
        marks[SLOT_LABEL] = str(start.slot)
    options = [*labels(marks), "--network", network]
    if address.published:
        for port, there in zip(definition.ports, address.ports, strict=True):
            options += ["--publish", f"{there}:{port.container}"]
    elif address.host:
        options += ["--ip", address.host]
    options += [
        "--restart",
        "unless-stopped",
        "--stop-timeout",
        str(round(definition.stop_timeout)),
    ]
    options += hardening_options(definition)
    options += tmpfs_options(definition, image_labels)
    for volume in definition.volumes:
        options += ["--volume", f"{volume_name(definition, volume, start.slot)}:{volume.path}"]
    return options + health_options(definition.health)


def hardening_options(definition: GroupDefinition) -> list[str]:
    """Return what keeps a container from what it need not do, and within its limits."""
    allowed, limits = definition.hardening, definition.resources
    options = ["--read-only"] if allowed.read_only else []
    if allowed.no_new_privileges:
        options += ["--security-opt", "no-new-privileges"]
    for capability in allowed.drop:
        options += ["--cap-drop", capability]
    for capability in allowed.add:
        options += ["--cap-add", capability]
    if allowed.user:
        options += ["--user", allowed.user]
    options += ["--pids-limit", str(limits.pids)]
    if limits.memory is not None:
        # The same for both means that nothing is swapped out.
        options += ["--memory", str(limits.memory), "--memory-swap", str(limits.memory)]
    if limits.cpus is not None:
        options += ["--cpus", f"{limits.cpus:g}"]
    return options


def tmpfs_options(definition: GroupDefinition, image_labels: Mapping[str, str]) -> list[str]:
    """Return the mounts in memory that the image declares as state, and the definition's own."""
    volumes = {volume.path for volume in definition.volumes}
    found: dict[str, str] = {path: path for path in definition.hardening.tmpfs}
    for state in declared_state(image_labels.get(STATE_LABEL, "[]")):
        path = str(state["path"])
        if state.get("kind") == "tmpfs" and path not in volumes:
            uid, _colon, gid = str(state.get("owner", "0:0")).partition(":")
            found[path] = f"{path}:uid={uid},gid={gid},mode={state.get('mode', '0755')}"
    return [word for path in sorted(found) for word in ("--tmpfs", found[path])]


def declared_state(text: str) -> list[dict[str, Any]]:
    """Return the state that an image declares, from its label."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DriverError(f"The image's label {STATE_LABEL} is no JSON.") from error
    return [one for one in found if isinstance(one, dict) and "path" in one]


def volume_name(definition: GroupDefinition, volume: Volume, slot: int | None) -> str:
    """Return the name of the engine's volume for the instance in *slot*."""
    if volume.access == "exclusive" and slot is None:
        raise DriverError(
            f"{definition.at('volumes')}: an instance with the exclusive volume {volume.name} needs"
            " a slot, and the plan gives it none."
        )
    return volume.volume(definition.name, slot or 0)


def health_options(checks: Sequence[HealthCheck]) -> list[str]:
    """Return what makes the engine do the checks that are its part."""
    command = [check for check in checks if check.kind == "command"]
    if command:
        line = " && ".join(shlex.join(check.command) for check in command)
        return [
            *("--health-cmd", line),
            *("--health-interval", f"{round(min(one.interval for one in command) * 1000)}ms"),
            *("--health-timeout", f"{round(max(one.timeout for one in command) * 1000)}ms"),
            *("--health-retries", str(max(one.unhealthy for one in command))),
        ]
    if any(check.kind == "engine" for check in checks):
        return []
    return ["--no-healthcheck"]


def has_check(image: Mapping[str, Any]) -> bool:
    """Say whether an image, as it was inspected, has a HEALTHCHECK, which may also say NONE."""
    check = (image.get("Config") or {}).get("Healthcheck") or {}
    return str((check.get("Test") or ["NONE"])[0]) != "NONE"


def refuse_impossible(definition: GroupDefinition) -> None:
    """Raise DriverError, with the line, for checks that a container engine cannot do."""
    kinds = {check.kind for check in definition.health}
    if {"engine", "command"} <= kinds:
        raise DriverError(
            f"{definition.at('health')}: an engine does one of the checks engine and command for a"
            " container, not both; leave one of them out."
        )
    if kinds & {"http", "tcp"} and not any(port.published for port in definition.ports):
        raise DriverError(
            f"{definition.at('health')}: checks over http or tcp are the balancer's, which the"
            " group has none of without a published port; use command or engine."
        )


def address_of(marks: Mapping[str, str], *, published: bool) -> Address:
    """Return the address that a container was given."""
    ports = tuple(int(word) for word in marks.get(PORTS_LABEL, "").split(",") if word)
    return Address(marks.get(ADDRESS_LABEL, ""), ports, published)


def instance_of(inspected: Mapping[str, Any], checks: Sequence[HealthCheck]) -> Instance:
    """Return the instance that a container is, without what the balancer knows of it."""
    marks, state = inspected["Config"]["Labels"] or {}, inspected["State"]
    running = bool(state["Running"]) and not state.get("Restarting")
    slot = marks.get(SLOT_LABEL)
    return Instance(
        id=marks[INSTANCE_LABEL],
        version=marks.get(VERSION_LABEL, ""),
        digest=marks.get(DIGEST_LABEL, ""),
        settings=marks.get(SETTINGS_LABEL, ""),
        values=marks.get(VALUES_LABEL, ""),
        life=_life(state, running=running),
        health=_engine_health(state, checks) if running else Health.FAILING,
        slot=int(slot) if slot else None,
        host=marks.get(HOST_LABEL, ""),
        created=unix_time(str(inspected["Created"])),
        restarts=int(inspected.get("RestartCount") or 0),
        exit_status=None if running else int(state.get("ExitCode") or 0),
        detail=_detail(state),
    )


def _life(state: Mapping[str, Any], *, running: bool) -> Life:
    if running:
        return Life.RUNNING
    return Life.STARTING if state["Status"] in {"created", "restarting"} else Life.STOPPED


def _engine_health(state: Mapping[str, Any], checks: Sequence[HealthCheck]) -> Health:
    """Return what the engine's checks say; PASSING when it has none to do."""
    mine = [check for check in checks if check.kind in {"engine", "command"}]
    if not mine:
        return Health.PASSING
    said = state.get("Health") or {}
    if said.get("Status") == "unhealthy":
        return Health.FAILING
    if said.get("Status") != "healthy":
        return Health.UNKNOWN
    passes = 0
    for result in reversed(said.get("Log") or []):
        if result.get("ExitCode") != 0:
            break
        passes += 1
    # How often the image's own check must pass is the image's matter: once.
    wanted = max((check.healthy for check in mine if check.kind == "command"), default=1)
    enough = passes >= min(wanted, _KEPT_RESULTS) or said.get("FailingStreak")
    return Health.PASSING if enough else Health.UNKNOWN


def _detail(state: Mapping[str, Any]) -> str:
    if state.get("OOMKilled"):
        return "killed: it needed more memory than its limit"
    if state.get("Error"):
        return str(state["Error"])
    log = (state.get("Health") or {}).get("Log") or []
    if log and log[-1].get("ExitCode"):
        return f"health check: {str(log[-1].get('Output', '')).strip()[:200]}"
    return "" if state["Running"] else f"ended with status {state.get('ExitCode')}"


def unix_time(text: str) -> float:
    """Return the Unix time that the engine wrote as *text*."""
    # Nanoseconds, which no Python before 3.12 reads, are more than anyone needs.
    seconds, _point, rest = text.partition(".")
    fraction = float(f"0.{rest.rstrip('Z')}") if rest else 0.0
    moment = datetime.fromisoformat(seconds.rstrip("Z")).replace(tzinfo=UTC)
    return moment.timestamp() + fraction
