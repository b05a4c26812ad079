# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the backends that stand on Docker share: lock, notes, hooks and the balancer."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from ...core.errors import DriverError
from ..balancer.configuration import Balance, Service, free_slots
from ..balancer.container import Balancer, Site
from ..balancer.director import Director
from ..balancer.runtime import SlotState
from ..definition_model import GroupDefinition, Hook
from ..model import Fault, Finding, HookResult, Lock, Release
from ..policy import bounds
from .client import Client
from .docker_options import DockerOptions
from .hook import run_hook
from .ledger import Ledger, Rows
from .values import Once, References, Resolve, marks, referred

_SPARE_SLOTS = 2
KEY = "key"
"""The note with the key of digests of secrets: who may read it may read the secrets as well."""


class Ground:
    """One group on what *client* speaks to: the engine with its balancer, lock and notes."""

    def __init__(
        self,
        definition: GroupDefinition,
        options: DockerOptions,
        client: Client,
        rows: Rows,
        *,
        resolve: Resolve | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.definition = definition
        self.options = options
        self.client = client
        self.now = now
        self.resolve: Resolve = Once(resolve or References.of(definition))
        self._key = b""
        self.ledger = Ledger(rows, now)
        self._director: Director | None = None

    def close(self) -> None:
        """Let go of what was begun to ask questions."""
        if self._director is not None:
            self._director.balancer.close()

    @property
    def network(self) -> str:
        """The name of the network that the balancer is in."""
        return self.options.network_name(self.definition.name)

    def values(self) -> str:
        """Keyed digests of the values that the definition refers to."""
        if not referred(self.definition):
            return ""
        if not self._key:
            self._key = bytes.fromhex(str(self.ledger.read_note(KEY).get("key", "")))
        # Nothing was started yet under a key that nobody has kept: another one will do.
        self._key = self._key or secrets.token_bytes(32)
        return marks(self.definition, self.resolve, self._key)

    def keep_key(self) -> None:
        """Keep the key of :meth:`values` for all who come later, unless there is one."""
        if self.values():
            self.ledger.change_note(KEY, lambda old: old or {"key": self._key.hex()})

    def take_lock(self, holder: str, lease: float, *, break_it: bool = False) -> Lock:
        """Take the group's lock for *lease* seconds, or raise LockHeld."""
        return self.ledger.take_lock(holder, lease, break_it=break_it)

    def renew_lock(self, lock: Lock, lease: float) -> Lock:
        """Return *lock* with a lease from now."""
        return self.ledger.renew_lock(lock, lease)

    def release_lock(self, lock: Lock) -> None:
        """Give *lock* back."""
        self.ledger.release_lock(lock)

    def read_lock(self) -> Lock | None:
        """Who holds the lock."""
        return self.ledger.read_lock()

    def read_note(self, name: str) -> Mapping[str, object]:
        """Return the document *name*."""
        return self.ledger.read_note(name)

    def write_note(self, name: str, value: Mapping[str, object]) -> None:
        """Keep *value* as the document *name*."""
        self.ledger.write_note(name, value)

    def run_hook(self, hook: Hook, release: Release) -> HookResult:
        """Run *hook* beside the balancer."""
        return run_hook(self.client, self.definition, hook, release, self.resolve, self.network)

    def services(self) -> tuple[Service, ...]:
        """The ports that users speak to."""
        return tuple(
            Service(port.published, port.container, port.mode)
            for port in self.definition.ports
            if port.published is not None
        )

    def service_ports(self, ports: Sequence[int]) -> tuple[int, ...] | None:
        """Return those of *ports*, one for each of the definition's, that services are behind."""
        containers = [port.container for port in self.definition.ports]
        if len(ports) != len(containers):
            return None  # It was started with other ports.
        return tuple(ports[containers.index(one.container)] for one in self.services())

    def director(self) -> Director | None:
        """Return who directs the traffic, None for a group that publishes nothing."""
        if self._director is None and (services := self.services()):
            limits = bounds(self.definition.policy, self.definition.size, stop_first=False)
            balance = Balance(
                self.definition.name,
                services,
                tuple(one for one in self.definition.health if one.kind in {"http", "tcp"}),
                free_slots(limits.most + _SPARE_SLOTS),
                self.options.algorithm,
            )
            image = self.options.balancer_image(self.client)
            site = Site(image, self.network, self.options.bind)
            self._director = Director(Balancer(self.client, self.definition.name, site, balance))
        return self._director

    def states(self) -> list[SlotState]:
        """Return what the balancer says; nothing while the group has none yet.

        One that does not answer is an error: to take its silence for "no requests in flight"
        would end instances that have some.
        """
        director = self.director()
        if director is None or not director.balancer.exists():
            return []
        return director.balancer.states()

    def balancer_findings(self) -> list[Finding]:
        """Return why the balancer could not be started."""
        try:
            director = self.director()
        except DriverError as error:
            return [Finding(Fault.PLATFORM, str(error))]
        if director is None or director.balancer.running():
            return []
        found = []
        for service in self.services():
            there = self.client(
                *("ps", "--filter", f"publish={service.published}", "--format", "{{.Names}}")
            ).text.split()
            if others := [name for name in there if name != director.balancer.name]:
                message = f"The port {service.published} is published by {', '.join(others)}."
                found.append(Finding(Fault.PLATFORM, message))
        return found
