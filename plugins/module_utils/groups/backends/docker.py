# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend for Docker Engines: containers behind a HAProxy that is baked by this project.

The first engine of a group has the balancer, the lock and the notes; instances are on all of
them. With one engine the balancer reaches them over a network of the group's own, with several
over a port of each engine's host. Nothing is remembered here that another operator's process
would not find out: what the engines and the balancer say is all there is.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from ...core.canonical import digest
from ...core.command import Runner, run
from ...core.errors import DriverError
from ..balancer.container import ROLE_LABEL
from ..balancer.director import Place
from ..balancer.runtime import SlotState
from ..definition_model import GroupDefinition
from ..model import (
    Action,
    Capabilities,
    Drain,
    Fault,
    Finding,
    Host,
    Instance,
    Lock,
    Observed,
    Outcome,
    Release,
    Send,
    Start,
    Stop,
    Traffic,
)
from .client import Client
from .docker_containers import Containers, Refused
from .docker_options import DockerOptions
from .ground import Ground
from .instances import INSTANCE_LABEL, Address, address_of, instance_of, refuse_impossible
from .ledger import VolumeRows
from .network import Network, ensure_network, find_network, free_port
from .values import Resolve

TAINTS = "taints"
TRAFFIC = "traffic"
"""The note in which a group without a balancer keeps who is to work."""
_SPARE_SLOTS = 2
_PARALLEL = 8


class DockerBackend(Ground):
    """One group on one or more Docker Engines."""

    def __init__(
        self,
        definition: GroupDefinition,
        *,
        runner: Runner = run,
        resolve: Resolve | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        refuse_impossible(definition)
        self._hosts = definition.backend.hosts or ("",)
        self._clients = {host: Client.at(host, runner) for host in self._hosts}
        first = self._clients[self._hosts[0]]
        super().__init__(
            definition,
            DockerOptions.of(definition),
            first,
            VolumeRows(first, definition.name),
            resolve=resolve,
            now=now,
        )
        self._site: Network | None = None
        self._addresses: dict[str, Address] = {}
        self._pool = ThreadPoolExecutor(_PARALLEL)

    # What it is

    def capabilities(self) -> Capabilities:
        """What it can honour: an exclusive volume stays on its engine, so one engine only."""
        several = len(self._hosts) > 1
        return Capabilities("docker", hosts=True, exclusive_volumes=not several)

    def close(self) -> None:
        """Let go of the threads and of the balancer."""
        super().close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for client in self._clients.values():
            client.close()

    # Before a rotation

    def preflight(self, release: Release, starts: int) -> Sequence[Finding]:
        """What stands in the way of starting *starts* instances of *release*."""
        found: list[Finding] = []
        for host in self._hosts:
            found += self._containers(host).preflight(release, -(-starts // len(self._hosts)))
        if self.services() and not found:
            found += self.balancer_findings()
        return found

    def prepare(self) -> None:
        """Make the network, the shared volumes and the balancer; see that all are behind it."""
        self.keep_key()
        for host in self._hosts:
            network = ensure_network(self._clients[host], self.definition.name, self.network)
            if host == self._hosts[0]:
                self._site = network
            self._containers(host).ensure_shared_volumes()
        if director := self.director():
            director.balancer.ensure()
            there = {one.id for one in self.observe().instances if one.alive}
            places = {key: place for key, place in self._places().items() if key in there}
            director.settle(places)

    # What there is

    def observe(self) -> Observed:
        """Everything that carries the group's label, on all engines."""
        asked = {
            host: self._pool.submit(
                client.containers, self.definition.name, f"label={ROLE_LABEL}=instance"
            )
            for host, client in self._clients.items()
        }
        asked_states = self._pool.submit(self.states)
        taints = self._pool.submit(self.ledger.read_note, TAINTS)
        hosts: list[Host] = []
        inspected: list[dict[str, Any]] = []
        for host, answer in asked.items():
            try:
                inspected += [
                    one
                    for one in answer.result()
                    # Two addresses may lead to one engine.
                    if len(self._hosts) == 1 or self._host_of(one) == host
                ]
                hosts.append(Host(host))
            except DriverError as error:
                hosts.append(Host(host, reachable=False, detail=error.message))
        if not hosts[0].reachable:
            raise DriverError(hosts[0].detail)
        states = asked_states.result()
        self._addresses = {
            one["Config"]["Labels"][INSTANCE_LABEL]: address_of(
                one["Config"]["Labels"], published=self._published
            )
            for one in inspected
        }
        plain = [instance_of(one, self.definition.health) for one in inspected]
        instances = tuple(
            sorted(
                (
                    replace(one, tainted=str(taints.result().get(one.id, "")))
                    for one in self._with_traffic(plain, states)
                ),
                key=lambda one: one.id,
            )
        )
        return Observed(instances, tuple(hosts), self.now(), _revision(instances))

    def logs(self, instance: str, lines: int = 100) -> str:
        """The last *lines* that *instance* wrote."""
        for host in self._hosts:
            if said := self._containers(host).logs(instance, lines):
                return said
        return ""

    # What is done to it

    def apply(self, actions: Sequence[Action], lock: Lock) -> Sequence[Outcome]:
        """Do *actions*: the balancer's parts in one go, those of the engines side by side."""
        if not self.ledger.holds(lock):
            return [Outcome(one, Fault.LOCK, "the lock is somebody else's") for one in actions]
        try:
            self._place(actions)
            self._direct(actions)
        except DriverError as error:
            return [Outcome(one, Fault.PLATFORM, str(error)) for one in actions]
        outcomes = list(self._pool.map(self._do, actions))
        # What never started has no business behind the balancer.
        failed = [Stop(one.action.id) for one in outcomes if one.fault and _starts(one)]
        if failed:
            with contextlib.suppress(DriverError):
                self._direct(failed)
        return outcomes

    def taint(self, instance: str, reason: str) -> None:
        """Note that *instance* is to be replaced; those that are gone are forgotten."""
        there = {one.id for one in self.observe().instances} | {instance}

        def change(old: Mapping[str, Any]) -> Mapping[str, Any]:
            kept = {key: value for key, value in old.items() if key in there}
            kept[instance] = reason
            return {key: value for key, value in kept.items() if value}

        self.ledger.change_note(TAINTS, change)

    # Within

    @property
    def _published(self) -> bool:
        return len(self._hosts) > 1

    def _containers(self, host: str) -> Containers:
        client = self._clients[host]
        return Containers(client, self.definition, self.resolve, self.network, self.values)

    def _host_of(self, inspected: Mapping[str, Any]) -> str:
        return instance_of(inspected, ()).host or self._hosts[0]

    def _with_traffic(
        self, instances: Sequence[Instance], states: Sequence[SlotState]
    ) -> Iterable[Instance]:
        if (director := self.director()) is not None:
            return director.seen(instances, self._places(), states)
        working = self.ledger.read_note(TRAFFIC)
        return [
            replace(one, traffic=Traffic.READY if working.get(one.id) else Traffic.OUT)
            for one in instances
        ]

    def _places(self) -> dict[str, Place]:
        """Return where the balancer finds each instance."""
        found = {}
        for instance, address in self._addresses.items():
            ports = self.service_ports(address.ports)
            if ports is not None:
                found[instance] = (address.host, ports)
        return found

    def _place(self, actions: Sequence[Action]) -> None:
        """Give those that are to start an address, and find out who has which."""
        starts = [one for one in actions if isinstance(one, Start)]
        others = [one for one in actions if not isinstance(one, Start)]
        if self._site is None or any(one.id not in self._addresses for one in others):
            self.observe()
        if self._site is None:
            self._site = find_network(self.client, self.network)
            if self._site is None:
                raise DriverError(f"The network {self.network} is not there; prepare first.")
        for start in starts:
            if start.id in self._addresses:
                continue
            if self._published:
                taken = {port for one in self._addresses.values() for port in one.ports}
                ports: list[int] = []
                for port in self.definition.ports:
                    ports.append(free_port(f"{start.id}/{port.container}", taken | set(ports)))
                host = self.options.reach(start.host or self._hosts[0], self._site.gateway)
                self._addresses[start.id] = Address(host, tuple(ports), True)
            else:
                used = {one.host for one in self._addresses.values()}
                own = tuple(port.container for port in self.definition.ports)
                self._addresses[start.id] = Address(self._site.free_address(start.id, used), own)

    def _direct(self, actions: Sequence[Action]) -> None:
        """Tell the balancer its part of *actions*, before any engine is told its own."""
        director = self.director()
        if director is None:
            self._keep_traffic(actions)
            return
        if any(isinstance(one, Start) for one in actions):
            director.balancer.states()
        director.direct(actions, self._places())

    def _keep_traffic(self, actions: Sequence[Action]) -> None:
        """Note who works, for a group without a balancer."""

        def change(old: Mapping[str, Any]) -> Mapping[str, Any]:
            working = set(old)
            for one in actions:
                if isinstance(one, Send):
                    working.add(one.id)
                elif isinstance(one, Drain | Stop):
                    working.discard(one.id)
            return dict.fromkeys(sorted(working), True)

        if any(not isinstance(one, Start) for one in actions):
            self.ledger.change_note(TRAFFIC, change)

    def _do(self, action: Action) -> Outcome:
        """Do the engine's part of *action*."""
        try:
            if isinstance(action, Start):
                containers = self._containers(action.host or self._hosts[0])
                containers.start(action, self._addresses[action.id])
            elif isinstance(action, Stop):
                for host in self._hosts:
                    self._containers(host).stop(action.id)
        except Refused as error:
            return Outcome(action, error.fault, str(error))
        except DriverError as error:
            return Outcome(action, Fault.PLATFORM, str(error))
        return Outcome(action)


def _starts(outcome: Outcome) -> bool:
    return isinstance(outcome.action, Start)


def _revision(instances: Iterable[Instance]) -> str:
    return digest(
        [
            [
                *(one.id, one.digest, one.settings, one.values),
                *(one.slot, one.host, one.alive, one.tainted),
            ]
            for one in instances
        ]
    )
