# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group as the tests have it, on either backend, and what an operator does with it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.core.waiting import Clock
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.docker import (
    DockerBackend,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.swarm import (
    SwarmBackend,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    BackendChoice,
    GroupDefinition,
    GroupPort,
    Hardening,
    HealthCheck,
    Hook,
    ImageChoice,
    Volume,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.engine import Rotation
from ansible_collections.kiln.immutable.plugins.module_utils.groups.gates import ask
from ansible_collections.kiln.immutable.plugins.module_utils.groups.holder import (
    is_gone,
    this_process,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.journal import Journal
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import Release
from ansible_collections.kiln.immutable.plugins.module_utils.groups.policy import Amount, Policy
from ansible_collections.kiln.immutable.plugins.module_utils.groups.run import Edge
from ansible_collections.kiln.immutable.plugins.module_utils.groups.work import Result

KINDS = ("docker", "swarm")
HTTP = HealthCheck(
    "http", port=8080, path="/healthz", interval=0.3, timeout=2.0, healthy=2, unhealthy=3
)


@dataclass(frozen=True)
class Group:
    """A group of two instances.

    :param images: what the engine calls each release, by its name.
    """

    kind: str
    name: str
    port: int
    balancer: str
    images: Mapping[str, str]
    journal: Path
    policy: Policy = field(
        default_factory=lambda: Policy(
            max_surge=Amount(2), start_timeout=60.0, deadline=120.0, min_ready=0.0
        )
    )
    size: int = 2
    stop_timeout: float = 2.0
    health: tuple[HealthCheck, ...] = (HTTP,)
    hosts: tuple[str, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    hooks: tuple[Hook, ...] = ()
    volumes: tuple[Volume, ...] = ()

    @property
    def url(self) -> str:
        """Where its users find it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def definition(self) -> GroupDefinition:
        """The group's definition. Swarm cannot be asked for no new privileges."""
        return GroupDefinition(
            name=self.name,
            image=ImageChoice("group-app", version="1"),
            size=self.size,
            backend=BackendChoice(
                self.kind, self.hosts, {"balancer": self.balancer, "addresses": self.addresses}
            ),
            ports=(GroupPort(8080, self.port),),
            health=self.health,
            hardening=Hardening(no_new_privileges=self.kind != "swarm"),
            policy=self.policy,
            hooks=self.hooks,
            volumes=self.volumes,
            stop_timeout=self.stop_timeout,
            document={"size": self.size},
        )

    def backend(self) -> DockerBackend | SwarmBackend:
        """Return a view of the group, as another process would have it."""
        kind = SwarmBackend if self.kind == "swarm" else DockerBackend
        return kind(self.definition)

    def release(self, name: str) -> Release:
        """Return the release called *name*."""
        return Release("group-app", name, f"sha256:{name}", self.images[name])

    def rotate(self, name: str, holder: str = "", clock: Clock = time) -> Result:
        """Rotate to the release called *name*, as an operator does."""
        backend = self.backend()
        try:
            return Rotation(
                backend,
                self.definition,
                self.release(name),
                holder or this_process("tester"),
                journal=Journal(self.journal),
                edge=Edge(
                    clock, ask=lambda gate, seconds: ask(gate, seconds, {"KILN_VERSION": name})
                ),
                is_gone=is_gone,
            ).rotate()
        finally:
            backend.close()

    def versions(self) -> list[str]:
        """Return the versions of the instances that serve."""
        backend = self.backend()
        try:
            return sorted(one.version for one in backend.observe().instances if one.serving)
        finally:
            backend.close()


def free_port() -> int:
    """Return a port for a group's users: one for each worker and test run."""
    return 28100 + os.getpid() % 800
