# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend for Docker Swarm: a service for each instance, its port on its node, HAProxy before.

Swarm waits for a task without a limit, ends the old one the moment that the new one runs, and goes
back to the last spec only; so it is given one instance at a time, and gates, deadlines and the way
back are the engine's (:mod:`..engine`). What it does of itself is left to it: a task that ends is
started again, on another node if need be.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ...core.canonical import digest
from ...core.command import Runner, last_lines, run
from ...core.errors import DriverError
from ...core.waiting import Clock, wait_for
from ..balancer.director import Place
from ..definition_model import GroupDefinition
from ..model import (
    Action,
    Capabilities,
    Fault,
    Finding,
    Lock,
    Observed,
    Outcome,
    Release,
    Start,
    Stop,
)
from .client import GROUP_LABEL, LIMIT, Client, labels, only_absent
from .docker_options import DockerOptions
from .ground import Ground
from .instances import (
    PORTS_LABEL,
    VALUES_LABEL,
    container_name,
    has_check,
    refuse_impossible,
)
from .ledger import NOTE_LABEL
from .network import Network, ensure_network, find_network, free_port
from .services import (
    TAINT_LABEL,
    TaskState,
    instance_of,
    refuse_unkept,
    secret_option,
    service_options,
    task_of,
)
from .values import Resolve, environment

_PARALLEL = 8
_BEGIN = 60.0  # seconds that Swarm has to place a task and start its process
_CONFLICTS = 5
_LONGEST = 63  # characters of the name of a config


@dataclass(frozen=True, slots=True)
class ConfigRows:
    """Configs of Swarm: of two who make one with the same name, one is refused."""

    client: Client
    group: str

    def _name(self, note: str, number: int) -> str:
        whole = f"kiln-{self.group}-{note}"
        if len(whole) > _LONGEST - 12:  # room for the number
            whole = f"kiln-{digest(whole)[7:39]}"
        return f"{whole}.{number}"

    def _numbers(self, note: str) -> list[int]:
        wanted = (f"label={GROUP_LABEL}={self.group}", f"label={NOTE_LABEL}={note}")
        options = [word for one in wanted for word in ("--filter", one)]
        names = self.client("config", "ls", "--format", "{{.Name}}", *options).text.split()
        return [int(name.rpartition(".")[2]) for name in names]

    def latest(self, note: str) -> tuple[int, bytes | None]:
        """Return the highest number that the document has, and the content of that config."""
        number = max(self._numbers(note), default=0)
        return number, self._read(note, number) if number else None

    def make(self, note: str, number: int, content: bytes) -> list[int] | None:
        """Make the config, and return all numbers; None when there is one."""
        marks = labels({GROUP_LABEL: self.group, NOTE_LABEL: note})
        name = self._name(note, number)
        done = self.client("config", "create", *marks, name, "-", stdin=content, check=False)
        if done.status != 0:
            if b"AlreadyExists" in done.stderr:
                return None
            raise self.client.failed(f"docker config create {name}", done)
        return self._numbers(note)

    def _read(self, note: str, number: int) -> bytes | None:
        """Return the content of a config, None when it is gone."""
        name = self._name(note, number)
        form = ("--format", "{{json .Spec.Data}}")
        done = self.client("config", "inspect", *form, name, check=False)
        if done.status != 0:
            if only_absent(done):
                return None
            raise self.client.failed(f"docker config inspect {name}", done)
        return _decoded(done.stdout)

    def remove(self, note: str, number: int) -> None:
        """Remove a config; nothing when it is gone."""
        name = self._name(note, number)
        done = self.client("config", "rm", name, check=False)
        if done.status != 0 and not only_absent(done):
            raise self.client.failed(f"docker config rm {name}", done)


class SwarmBackend(Ground):
    """One group on one Swarm, spoken to at a manager."""

    def __init__(
        self,
        definition: GroupDefinition,
        *,
        runner: Runner = run,
        resolve: Resolve | None = None,
        now: Callable[[], float] = time.time,
        clock: Clock = time,
    ) -> None:
        refuse_impossible(definition)
        options = DockerOptions.of(definition)
        refuse_unkept(definition, options.volume_driver)
        hosts = definition.backend.hosts or ("",)
        client = Client.at(hosts[0], runner)
        rows = ConfigRows(client, definition.name)
        super().__init__(definition, options, client, rows, resolve=resolve, now=now)
        self._clock = clock
        self._ports: dict[str, tuple[int, ...]] = {}
        self._nodes: dict[str, str] = {}
        self._there: dict[str, Place] = {}
        self._site: Network | None = None
        self._pool = ThreadPoolExecutor(_PARALLEL)

    def capabilities(self) -> Capabilities:
        """What it can honour: a volume stays on its node while Swarm may move an instance."""
        return Capabilities("swarm", hosts=False, exclusive_volumes=False)

    def close(self) -> None:
        """Let go of the threads and of the balancer."""
        super().close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.client.close()

    def preflight(self, release: Release, starts: int) -> Sequence[Finding]:
        """What stands in the way of starting *starts* instances of *release*."""
        try:
            facts = json.loads(self.client("info", "--format", "{{json .}}", timeout=20).stdout)
            image = self.client.inspect("image", [release.reference])
        except DriverError as error:
            return [Finding(Fault.PLATFORM, error.message)]
        swarm = facts.get("Swarm") or {}
        if swarm.get("LocalNodeState") != "active" or not swarm.get("ControlAvailable"):
            return [Finding(Fault.PLATFORM, "The engine is no manager of a Swarm.")]
        found = []
        if not image:
            message = f"The manager has no image {release.reference}, so nothing is known of it."
            found.append(Finding(Fault.PLATFORM, message))
        elif any(one.kind == "engine" for one in self.definition.health) and not has_check(
            image[0]
        ):
            message = f"{release.reference} has no HEALTHCHECK, which the group's health rests on."
            found.append(Finding(Fault.RELEASE, message))
        strict = any("no-new-privileges" in str(one) for one in facts.get("SecurityOptions") or ())
        if self.definition.hardening.no_new_privileges and not strict:
            where = self.definition.at("hardening.no_new_privileges")
            message = (
                f"{where}: Swarm cannot ask it of a service; set no-new-privileges in the"
                " daemon.json of the nodes, or say false here."
            )
            found.append(Finding(Fault.PLATFORM, message))
        return found or self.balancer_findings()

    def prepare(self) -> None:
        """Make the balancer and its network; see that all instances are behind it."""
        self.keep_key()
        self._site = ensure_network(self.client, self.definition.name, self.network)
        if director := self.director():
            director.balancer.ensure()
            self.observe()
            director.settle(self._there)

    def observe(self) -> Observed:
        """Everything that carries the group's label."""
        states = self._pool.submit(self.states)
        services = self._services()
        tasks = self._tasks([str(one["ID"]) for one in services])
        plain = []
        self._ports, self._there = {}, {}
        for service in services:
            task = tasks.get(str(service["ID"]))
            one = instance_of(service, task, self.definition.health)
            plain.append(one)
            marks = service["Spec"]["Labels"]
            ports = tuple(int(word) for word in marks.get(PORTS_LABEL, "").split(",") if word)
            self._ports[one.id] = ports
            if task is not None and (place := self._place_of(task, ports)) is not None:
                self._there[one.id] = place
        director = self.director()
        if director is not None:
            plain = list(director.seen(plain, self._there, states.result()))
        instances = tuple(sorted(plain, key=lambda one: one.id))
        revision = digest([[str(one["ID"]), one["Version"]["Index"]] for one in services])
        return Observed(instances, now=self.now(), revision=revision)

    def apply(self, actions: Sequence[Action], lock: Lock) -> Sequence[Outcome]:
        """Do *actions*: the balancer first, except that it is told of an instance that started."""
        if not self.ledger.holds(lock):
            return [Outcome(one, Fault.LOCK, "the lock is somebody else's") for one in actions]
        begins = [one for one in actions if isinstance(one, Start)]
        others = [one for one in actions if not isinstance(one, Start)]
        try:
            if begins or any(one.id not in self._there for one in others):
                self.observe()
            director = self.director()
            if director is not None and others:
                director.direct(others, self._there)
        except DriverError as error:
            return [Outcome(one, Fault.PLATFORM, str(error)) for one in actions]
        self._choose_ports(begins)
        done = dict(zip(actions, self._pool.map(self._do, actions), strict=True))
        started = [one for one in begins if done[one].fault is None]
        if director is not None and started:
            try:
                self.observe()
                director.direct(started, self._there)
            except DriverError as error:
                done |= {one: Outcome(one, Fault.PLATFORM, str(error)) for one in started}
        return [done[one] for one in actions]

    def taint(self, instance: str, reason: str) -> None:
        """Note at the service that it is to be replaced; its task goes on."""
        change = ["--label-add", f"{TAINT_LABEL}={reason}"] if reason else []
        self._update(instance, change or ["--label-rm", TAINT_LABEL])

    def logs(self, instance: str, lines: int = 100) -> str:
        """The last *lines* that *instance* wrote."""
        name = container_name(self.definition.name, instance)
        options = ("--raw", "--timestamps", "--tail", str(lines))
        done = self.client("service", "logs", *options, name, check=False)
        if done.status != 0:
            return ""
        return "\n".join(
            sorted((done.stdout + done.stderr).decode("utf-8", "replace").splitlines())
        )

    def _services(self) -> list[dict[str, Any]]:
        wanted = f"label={GROUP_LABEL}={self.definition.name}"
        ids = self.client("service", "ls", "--quiet", "--filter", wanted).text.split()
        return self.client.inspect("service", ids)

    def _tasks(self, services: Sequence[str]) -> dict[str, TaskState]:
        if not services:
            return {}
        done = self.client("service", "ps", "--quiet", "--no-trunc", *services, check=False)
        if done.status != 0 and not only_absent(done):
            raise self.client.failed("docker service ps", done)
        ids = done.text.split()
        # One that is removed between the two questions makes inspect fail for it alone.
        said = self.client("inspect", "--type", "task", *ids, check=False) if ids else None
        by_service: dict[str, list[Mapping[str, Any]]] = {}
        for one in json.loads(said.stdout or b"[]") if said else ():
            by_service.setdefault(str(one["ServiceID"]), []).append(one)
        found = {service: task_of(tasks) for service, tasks in by_service.items()}
        return {service: task for service, task in found.items() if task is not None}

    def _place_of(self, task: TaskState, ports: Sequence[int]) -> Place | None:
        """Return where the balancer finds a task; None before Swarm has placed it."""
        mine = self.service_ports(ports)
        if not task.node or mine is None:
            return None
        return self._node_address(task.node), mine

    def _node_address(self, node: str) -> str:
        if node not in self._nodes:
            (found,) = self.client.inspect("node", [node]) or [{}]
            named = str((found.get("Description") or {}).get("Hostname") or "")
            address = str((found.get("Status") or {}).get("Addr") or "")
            gateway = self._gateway()
            # Of a single node Swarm may say 0.0.0.0 or a loopback address: it is the balancer's.
            local = not address or address.startswith(("0.", "127."))
            self._nodes[node] = self.options.addresses.get(named, gateway if local else address)
        return self._nodes[node]

    def _gateway(self) -> str:
        self._site = self._site or find_network(self.client, self.network)
        return self._site.gateway if self._site else ""

    def _choose_ports(self, starts: Sequence[Start]) -> None:
        taken = {port for ports in self._ports.values() for port in ports}
        for start in starts:
            if start.id in self._ports:
                continue
            chosen: list[int] = []
            for port in self.definition.ports:
                chosen.append(free_port(f"{start.id}/{port.container}", taken))
                taken.add(chosen[-1])
            self._ports[start.id] = tuple(chosen)

    def _do(self, action: Action) -> Outcome:
        try:
            if isinstance(action, Start):
                return self._start(action)
            if isinstance(action, Stop):
                self._stop(action.id)
        except DriverError as error:
            return Outcome(action, Fault.PLATFORM, str(error))
        return Outcome(action)

    def _start(self, start: Start) -> Outcome:
        """Make a service, and wait until Swarm has started its process somewhere."""
        name = container_name(self.definition.name, start.id)
        image = self.client.inspect("image", [start.release.reference])
        marks = (image[0].get("Config") or {}).get("Labels") or {} if image else {}
        options = service_options(
            self.definition, start, self._ports[start.id], marks, self.options.volume_driver
        )
        if values := self.values():
            options += labels({VALUES_LABEL: values})
        variables, needed = environment(self.definition.environment, self.resolve)
        secrets = [word for one in self._make_secrets(name) for word in ("--secret", one)]
        done = self.client(
            *("service", "create", "--detach", "--quiet", "--no-resolve-image", "--name", name),
            *(*options, *variables, *secrets, start.release.reference),
            *(self.definition.command or ()),
            env=needed,
            check=False,
        )
        if done.status != 0 and b"name conflicts with an existing object" not in done.stderr:
            return Outcome(start, Fault.PLATFORM, f"{name} did not start: {last_lines(done, 2)}")

        def begun() -> TaskState | None:
            task = next(iter(self._tasks([name]).values()), None)
            return task if task and (task.begun or task.said) else None

        task = wait_for(f"a node to start {name}", begun, timeout=_BEGIN, clock=self._clock)
        if task.begun:
            return Outcome(start)
        self._stop(start.id)
        return Outcome(start, task.fault, f"{name} did not start: {task.said}")

    def _stop(self, instance: str) -> None:
        """End the task as its image asks for, wait, and remove the service."""
        name = container_name(self.definition.name, instance)
        if self._update(instance, ["--replicas", "0"]):

            def ended() -> bool | None:
                form = ("--format", "{{.CurrentState}} {{.DesiredState}}", "--no-trunc")
                said = self.client("service", "ps", *form, name, check=False).text.lower()
                live = ("running", "starting", "preparing", "ready", "assigned", "accepted")
                # A manager whose service is removed just when it clears a task of it away dies of
                # that (SetServiceTasksRemove in swarmkit), and the whole engine with it.
                return None if any(word in said for word in (*live, "remove")) else True

            limit = self.definition.stop_timeout + LIMIT
            wait_for(f"{name} to end", ended, timeout=limit, clock=self._clock)
        done = self.client("service", "rm", name, check=False)
        if done.status != 0 and not only_absent(done):
            raise self.client.failed(f"docker service rm {name}", done)
        for secret in self.definition.secrets:
            self.client("secret", "rm", _secret_name(name, secret.name), check=False)

    def _update(self, instance: str, change: Sequence[str]) -> bool:
        """Change the spec of a service, under its version index; False when it is gone.

        The client sends the version that it has read. When somebody was quicker Swarm refuses,
        and it is read again.
        """
        name = container_name(self.definition.name, instance)
        for _attempt in range(_CONFLICTS):
            done = self.client(
                *("service", "update", "--detach", "--quiet", "--no-resolve-image", *change, name),
                check=False,
            )
            if done.status == 0:
                return True
            if only_absent(done):
                return False
            if b"out of sequence" not in done.stderr:
                break
        raise self.client.failed(f"docker service update {name}", done)

    def _make_secrets(self, name: str) -> list[str]:
        """Hand the secrets of an instance to Swarm, which gives them to its node in memory."""
        found = []
        marks = labels({GROUP_LABEL: self.definition.name})
        for secret in self.definition.secrets:
            called = _secret_name(name, secret.name)
            content = self.resolve(secret.reference)
            done = self.client("secret", "create", *marks, called, "-", stdin=content, check=False)
            if done.status != 0 and b"AlreadyExists" not in done.stderr:
                raise self.client.failed(f"docker secret create {called}", done)
            found.append(secret_option(called, secret))
        return found


def _secret_name(service: str, secret: str) -> str:
    whole = f"{service}-{secret}"
    return whole if len(whole) <= _LONGEST else f"kiln-{digest(whole)[7:39]}"


def _decoded(data: bytes) -> bytes:
    """Return the content of a config, which the client prints as JSON: base64, or bytes."""
    value = json.loads(data)
    return base64.b64decode(value) if isinstance(value, str) else bytes(value)
