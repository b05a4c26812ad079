# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance as a service of Docker Swarm: what makes it, and what its tasks tell. Pure.

Each instance is a service with one task. A service with many would leave it to Swarm which of them
goes next; a gate, a weight or a drain could not be tied to one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.errors import DriverError
from ..balancer.container import ROLE_LABEL
from ..definition_model import GroupDefinition, HealthCheck, Secret
from ..model import Fault, Health, Instance, Life, Start
from .client import GROUP_LABEL, labels
from .instances import (
    DIGEST_LABEL,
    IMAGE_LABEL,
    INSTANCE_LABEL,
    PORTS_LABEL,
    SETTINGS_LABEL,
    STATE_LABEL,
    VALUES_LABEL,
    VERSION_LABEL,
    declared_state,
    health_options,
    unix_time,
)

TAINT_LABEL = "io.kiln.tainted"
_ENDED = {"complete", "shutdown", "failed", "rejected", "remove", "orphaned"}
_BEGUN = {"starting", "running"}
_NEVER_IN_IMAGES = ("/run/", "/tmp/", "/dev/shm")
_BAD_RELEASE = (
    "executable file not found",
    "exec format error",
    "no such file or directory",
    "permission denied",
    "unable to find user",
    "non-zero exit",
    "unhealthy container",
)


@dataclass(frozen=True, slots=True)
class TaskState:
    """The one task of an instance that counts: the newest.

    :param node: the ID of the node that it is on; empty while Swarm looks for one.
    :param restarts: how many tasks there were before it.
    """

    state: str
    node: str
    said: str
    exit_status: int | None
    restarts: int

    @property
    def begun(self) -> bool:
        """Whether its process was started."""
        return self.state in _BEGUN

    @property
    def fault(self) -> Fault:
        """Whose fault it is that it did not start."""
        bad = any(word in self.said for word in _BAD_RELEASE)
        return Fault.RELEASE if bad else Fault.PLATFORM


def service_options(
    definition: GroupDefinition,
    start: Start,
    ports: Sequence[int],
    image_labels: Mapping[str, str],
    volume_driver: str,
) -> list[str]:
    """Return the options of ``docker service create``, without environment and secrets."""
    marks = {
        GROUP_LABEL: definition.name,
        ROLE_LABEL: "instance",
        INSTANCE_LABEL: start.id,
        IMAGE_LABEL: start.release.image,
        VERSION_LABEL: start.release.version,
        DIGEST_LABEL: start.release.digest,
        SETTINGS_LABEL: definition.settings,
        PORTS_LABEL: ",".join(map(str, ports)),
    }
    options = [*labels(marks)]
    for key in (GROUP_LABEL, INSTANCE_LABEL):
        options += ["--container-label", f"{key}={marks[key]}"]
    for port, there in zip(definition.ports, ports, strict=True):
        options += ["--publish", f"mode=host,target={port.container},published={there}"]
    grace = f"{round(definition.stop_timeout * 1000)}ms"
    options += ["--replicas", "1", "--stop-grace-period", grace]
    options += ["--restart-condition", "any", "--restart-delay", "1s"]
    options += _limits(definition)
    volumes = {volume.path for volume in definition.volumes}
    for path in _in_memory(definition, image_labels):
        if path not in volumes:
            options += ["--mount", _passing_mount(path)]
    for volume in definition.volumes:
        name = volume.volume(definition.name, 0)
        mount = f"type=volume,source={name},destination={volume.path}"
        options += ["--mount", f"{mount},volume-driver={volume_driver}"]
    return options + health_options(definition.health)


def _limits(definition: GroupDefinition) -> list[str]:
    allowed, limits = definition.hardening, definition.resources
    options = ["--read-only"] if allowed.read_only else []
    for capability in allowed.drop:
        options += ["--cap-drop", capability]
    for capability in allowed.add:
        options += ["--cap-add", capability]
    if allowed.user:
        options += ["--user", allowed.user]
    options += ["--limit-pids", str(limits.pids)]
    if limits.memory is not None:
        options += ["--limit-memory", str(limits.memory)]
    if limits.cpus is not None:
        options += ["--limit-cpu", f"{limits.cpus:g}"]
    return options


def _passing_mount(path: str) -> str:
    """Return the mount for what at *path* goes with the instance.

    Swarm gives a tmpfs no owner, and one over a folder of the image has that one's mode, which its
    user then cannot pass. A volume without a name begins as the image's folder, owner and all, and
    is removed with the container. Below /run and /tmp an image has nothing.
    """
    if path.startswith(_NEVER_IN_IMAGES):
        return f"type=tmpfs,destination={path},tmpfs-mode=1777"
    return f"type=volume,destination={path}"


def _in_memory(definition: GroupDefinition, image_labels: Mapping[str, str]) -> list[str]:
    """Return the paths that are in memory, where that can be had."""
    declared = declared_state(image_labels.get(STATE_LABEL, "[]"))
    paths = [str(one["path"]) for one in declared if one.get("kind") == "tmpfs"]
    return sorted({*paths, *definition.hardening.tmpfs})


def secret_option(name: str, secret: Secret) -> str:
    """Return the option that gives an instance the secret *name* of Swarm."""
    uid, _colon, gid = secret.owner.partition(":")
    return f"source={name},target={secret.path},uid={uid},gid={gid},mode=0{secret.mode.lstrip('0')}"


def refuse_unkept(definition: GroupDefinition, volume_driver: str) -> None:
    """Raise DriverError, with the line, for what Swarm cannot keep for an instance."""
    for at, volume in enumerate(definition.volumes):
        if volume.access == "shared" and not volume_driver:
            raise DriverError(
                f"{definition.at(f'volumes[{at}]')}: the volumes of Swarm's nodes are not the same;"
                " name a driver whose are in backend.options.volume_driver."
            )


def task_of(tasks: Sequence[Mapping[str, Any]]) -> TaskState | None:
    """Return what counts of the *tasks* of one service, None when it has none yet."""
    if not tasks:
        return None
    ordered = sorted(tasks, key=lambda one: str(one["CreatedAt"]))
    newest, status = ordered[-1], ordered[-1]["Status"]
    said = [str(one["Status"].get("Err") or "") for one in reversed(ordered)]
    container = status.get("ContainerStatus") or {}
    return TaskState(
        state=str(status["State"]),
        node=str(newest.get("NodeID") or ""),
        said=next((text for text in said if text), ""),
        exit_status=container.get("ExitCode"),
        restarts=len(ordered) - 1,
    )


def instance_of(
    service: Mapping[str, Any], task: TaskState | None, checks: Sequence[HealthCheck]
) -> Instance:
    """Return the instance that a service is, without what the balancer knows of it."""
    marks = service["Spec"].get("Labels") or {}
    return Instance(
        id=marks[INSTANCE_LABEL],
        version=marks.get(VERSION_LABEL, ""),
        digest=marks.get(DIGEST_LABEL, ""),
        settings=marks.get(SETTINGS_LABEL, ""),
        values=marks.get(VALUES_LABEL, ""),
        life=_life(task),
        health=_health(task, checks),
        created=unix_time(str(service["CreatedAt"])),
        tainted=marks.get(TAINT_LABEL, ""),
        restarts=task.restarts if task else 0,
        exit_status=task.exit_status if task and task.state in _ENDED else None,
        detail=task.said if task and task.state != "running" else "",
    )


def _life(task: TaskState | None) -> Life:
    if task is None:
        return Life.STARTING
    if task.state in _ENDED:
        # Swarm makes another task unless it was told to stop.
        return Life.STOPPED if task.state in {"complete", "shutdown", "remove"} else Life.STARTING
    return Life.RUNNING if task.begun else Life.STARTING


def _health(task: TaskState | None, checks: Sequence[HealthCheck]) -> Health:
    """Return what Swarm's state means: with a check of the engine's it is RUNNING when healthy."""
    if task is None or not task.begun:
        return Health.FAILING if task and task.state in _ENDED else Health.UNKNOWN
    mine = any(check.kind in {"engine", "command"} for check in checks)
    return Health.PASSING if task.state == "running" or not mine else Health.UNKNOWN
