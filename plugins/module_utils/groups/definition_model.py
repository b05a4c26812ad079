# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a group's definition says, as values: nothing here reads a file or checks anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.canonical import digest
from .policy import Phase, Policy


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """The image of a group, by exactly one of channel, version and digest."""

    name: str
    channel: str = ""
    version: str = ""
    digest: str = ""

    def __str__(self) -> str:
        if self.channel:
            return f"{self.name} of channel {self.channel}"
        return f"{self.name} {self.version or self.digest}"


@dataclass(frozen=True, slots=True)
class GroupPort:
    """A port that instances listen on.

    :param container: the number in the instance.
    :param published: the number that users of the service speak to, at the balancer or the mesh;
        None when only instances' neighbours do.
    :param mode: ``http`` or ``tcp``: what the balancer makes of it.
    """

    container: int
    published: int | None = None
    mode: str = "http"


@dataclass(frozen=True, slots=True)
class Volume:
    """State that outlives instances.

    :param access: ``exclusive`` (each instance has one of its own, which its successor takes over)
        or ``shared`` (all have the same).
    """

    name: str
    path: str
    access: str = "exclusive"

    def volume(self, group: str, slot: int) -> str:
        """Return the name of the engine's volume for the instance in *slot*."""
        own = f"-{slot}" if self.access == "exclusive" else ""
        return f"kiln-{group}-{self.name}{own}"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a value is that does not stand in the definition.

    :param kind: ``env`` (a variable of who runs Ansible), ``file`` (on the controller) or
        ``command`` (its standard output, without the last newline).
    """

    kind: str
    name: str = ""
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the instances' environment: its value, or where that is."""

    name: str
    value: str = ""
    reference: Reference | None = None


@dataclass(frozen=True, slots=True)
class Secret:
    """A file in memory of the instances, ``/run/secrets/NAME`` by default.

    :param owner: ``UID:GID``, numbers.
    """

    name: str
    reference: Reference
    path: str
    owner: str = "0:0"
    mode: str = "0400"


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits of each instance; None leaves it to the engine.

    :param memory: bytes.
    :param cpus: number of processors.
    """

    memory: int | None = None
    cpus: float | None = None
    pids: int = 512


@dataclass(frozen=True, slots=True)
class Hardening:
    """What instances may do. The defaults are the strictest; a definition loosens them."""

    read_only: bool = True
    no_new_privileges: bool = True
    drop: tuple[str, ...] = ("ALL",)
    add: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()
    user: str = ""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One way to find out whether an instance works. All that are declared must pass.

    :param kind: ``http``, ``tcp``, ``command`` (run in the instance) or ``engine`` (the image's
        own HEALTHCHECK).
    :param healthy: so many passes in a row make an instance healthy.
    :param unhealthy: so many failures in a row make it unhealthy.
    """

    kind: str
    port: int = 0
    path: str = "/"
    status: tuple[int, ...] = (200,)
    command: tuple[str, ...] = ()
    interval: float = 2.0
    timeout: float = 2.0
    healthy: int = 2
    unhealthy: int = 3


@dataclass(frozen=True, slots=True)
class Hook:
    """A container of the new image that runs once: a migration, for example.

    :param when: ``before`` the first instance is started or ``after`` the last one serves.
    """

    name: str
    when: str
    command: tuple[str, ...]
    phase: Phase = Phase.EXPAND
    timeout: float = 600.0
    environment: tuple[Variable, ...] = ()


@dataclass(frozen=True, slots=True)
class Notification:
    """Who is told how a rotation goes.

    :param kind: ``webhook`` (POST of JSON) or ``command`` (the same JSON at its standard input).
    :param events: ``started``, ``succeeded``, ``failed``, ``paused``, ``rolled_back``.
    """

    kind: str
    url: str = ""
    command: tuple[str, ...] = ()
    events: tuple[str, ...] = ("started", "succeeded", "failed", "paused", "rolled_back")
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class IgnoredDrift:
    """A difference between instances and their version that is fine, and why.

    :param kind: ``file``, ``package``, ``process``, ``setting`` or ``mount``.
    :param pattern: of the subject; ``*`` is any text without a slash, ``**`` any text.
    """

    kind: str
    pattern: str
    reason: str


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """Where the instances run.

    :param hosts: addresses of engines as ``DOCKER_HOST`` takes them; empty is the one that the
        client on the controller speaks to.
    :param options: the backend's own settings, read and refused by the backend.
    """

    kind: str = "docker"
    hosts: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class GroupDefinition:
    """One instance group.

    :param shown_path: the file as the user named it, for messages.
    :param lines: the line of each key path, for messages; empty for module parameters.
    :param document: what was read, as plain values, from which the same definition can be read.
    :param stop_timeout: seconds that an instance has to end after its stop signal.
    :param drain_time: seconds that requests in flight have to end before the stop signal.
    """

    name: str
    image: ImageChoice
    size: int
    backend: BackendChoice = BackendChoice()
    ports: tuple[GroupPort, ...] = ()
    volumes: tuple[Volume, ...] = ()
    environment: tuple[Variable, ...] = ()
    secrets: tuple[Secret, ...] = ()
    resources: Resources = Resources()
    hardening: Hardening = Hardening()
    health: tuple[HealthCheck, ...] = (HealthCheck("engine"),)
    policy: Policy = field(default_factory=Policy)
    hooks: tuple[Hook, ...] = ()
    notifications: tuple[Notification, ...] = ()
    stop_timeout: float = 10.0
    drain_time: float = 30.0
    command: tuple[str, ...] | None = None
    ignored_drift: tuple[IgnoredDrift, ...] = ()
    shown_path: str = field(default="", compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def stop_first(self) -> bool:
        """Whether an instance must end before the one that takes its volume over begins."""
        return any(volume.access == "exclusive" for volume in self.volumes)

    @property
    def settings(self) -> str:
        """Digest of what instances are started with besides the image; backends label them so.

        What only says how they are replaced is no part of it.
        """
        return digest(self.settings_document())

    def settings_document(self) -> dict[str, Any]:
        """What :attr:`settings` is the digest of, by key, to tell what changed."""
        resources, hardening = self.resources, self.hardening
        return {
            "ports": [f"{port.container}/{port.mode}" for port in self.ports],
            "volumes": [f"{one.name}:{one.path}:{one.access}" for one in self.volumes],
            "environment": {
                one.name: one.value if one.reference is None else f"from {shown(one.reference)}"
                for one in self.environment
            },
            "secrets": {
                one.path: f"{shown(one.reference)} {one.owner} {one.mode}" for one in self.secrets
            },
            "resources": f"{resources.memory} {resources.cpus} {resources.pids}",
            "hardening": {
                "read_only": hardening.read_only,
                "no_new_privileges": hardening.no_new_privileges,
                "drop": list(hardening.drop),
                "add": list(hardening.add),
                "tmpfs": list(hardening.tmpfs),
                "user": hardening.user,
            },
            "command": None if self.command is None else list(self.command),
        }

    def at(self, path: str) -> str:
        """Return ``FILE:LINE: PATH``, the beginning of a message about the key *path*.

        The nearest key above stands for one that the definition does not have.
        """
        above = path
        while above and above not in self.lines:
            above = above.rpartition(".")[0]
        line = self.lines.get(above)
        where = f"{self.shown_path}:{line}" if line else self.shown_path
        return f"{where}: {path}" if where else path


def shown(reference: Reference) -> str:
    """Return *reference* in words: where the value is, never the value."""
    what = " ".join(reference.command) if reference.kind == "command" else reference.name
    return f"{reference.kind} {what}"
