# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of an instance to look into: its version and its state, where it disturbs nobody."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.command import Completed, Runner, last_lines, run
from ..core.errors import DriverError
from ..core.waiting import Clock, wait_for
from .instance import Instance, find_instances

LABEL = "io.kiln.debug"
"""On a copy and its volumes: the name of the instance that it is of."""

UNTIL = f"{LABEL}.until"
"""When it is to go, in seconds since 1970."""

NETWORK = "kiln-debug"
"""A network of the engine in which a copy can be spoken to and speaks to nothing outside."""

NETWORKS = ("none", "internal")
_PATIENCE = 60.0  # seconds that the engine has to have an instance stand still
_COPY = (
    *("run", "--rm", "--pull", "never", "--network", "none", "--read-only", "--entrypoint", ""),
    *("--cap-drop", "ALL", "--cap-add", "CHOWN", "--cap-add", "DAC_OVERRIDE", "--cap-add"),
    *("FOWNER", "--cap-add", "SETFCAP", "--cap-add", "MKNOD", "--no-healthcheck"),
    *("--security-opt", "no-new-privileges", "--user", "0:0"),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """How a copy is to be.

    :param until: when it is to go, in seconds since 1970.
    :param network: one of NETWORKS.
    :param command: what runs in it instead of what the instance runs.
    :param pause: whether the instance stands still while its state is copied.
    """

    until: float
    network: str = "none"
    command: tuple[str, ...] = ()
    pause: bool = False


@dataclass(frozen=True, slots=True)
class DebugCopy:
    """A copy that was made.

    :param volumes: its own volumes, by the path at which it sees them.
    """

    name: str
    instance: str
    until: float
    volumes: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """What the engine is told to make a copy.

    :param volumes: the copy's volumes and what they are copied from, by path.
    :param variables: the environment; the client takes the values from its own.
    """

    name: str
    options: tuple[str, ...]
    words: tuple[str, ...]
    volumes: Mapping[str, tuple[str, str]] = field(hash=False)
    variables: Mapping[str, str] = field(hash=False, repr=False)


def plan_copy(instance: Instance, wish: Wish, token: str) -> CopyPlan:
    """Return how a copy of *instance* is made: hardened as it is, with nothing published. Pure.

    Its labels are not copied, so neither a group nor a balancer takes it for an instance.
    """
    if wish.network not in NETWORKS:
        raise DriverError(
            f"A copy cannot be on the network {wish.network!r}.",
            hint=f"It is one of {', '.join(NETWORKS)}.",
        )
    config, host = instance.config, instance.host_config
    name = f"{instance.name}-debug-{token}"
    options = ["--label", f"{LABEL}={instance.name}", "--label", f"{UNTIL}={int(wish.until)}"]
    options += ["--network", NETWORK if wish.network == "internal" else "none"]
    options += ["--restart", "no", "--log-opt", "max-size=50m"]
    if config.get("User"):
        options += ["--user", str(config["User"])]
    if host.get("ReadonlyRootfs"):
        options.append("--read-only")
    for flag, names in (("--cap-drop", host.get("CapDrop")), ("--cap-add", host.get("CapAdd"))):
        for one in names or ():
            options += [flag, str(one)]
    for one in host.get("SecurityOpt") or ():
        options += ["--security-opt", str(one)]
    for path, how in (host.get("Tmpfs") or {}).items():
        options += ["--tmpfs", f"{path}:{how}" if how else path]
    for flag, value in (("--memory", host.get("Memory")), ("--pids-limit", host.get("PidsLimit"))):
        if value and int(value) > 0:
            options += [flag, str(value)]
    if host.get("Init"):
        options.append("--init")
    volumes = {}
    for at, one in enumerate(instance.document.get("Mounts") or ()):
        if one.get("Type") in ("volume", "bind") and one.get("RW"):
            source = str(one.get("Name") or one.get("Source"))
            volumes[str(one["Destination"])] = (f"{name}-{at}", source)
    for path, (volume, _source) in volumes.items():
        options += ["--volume", f"{volume}:{path}"]
    lines = (str(line).partition("=") for line in config.get("Env") or ())
    variables = {variable: value for variable, _equals, value in lines}
    for variable in variables:
        options += ["--env", variable]
    program, words = _program(config, wish.command)
    options += program
    return CopyPlan(name, tuple(options), words, volumes, variables)


def _program(
    config: Mapping[str, Any], command: Sequence[str]
) -> tuple[list[str], tuple[str, ...]]:
    if command:
        return ["--entrypoint", command[0], "--no-healthcheck"], tuple(command[1:])
    first, *rest = config.get("Entrypoint") or [""]
    words = (*map(str, rest), *map(str, config.get("Cmd") or ()))
    return ["--entrypoint", str(first)] if first else [], words


@dataclass(frozen=True, slots=True)
class Copier:
    """Makes and removes copies on one engine.

    :param toolbox: an image with coreutils that the engine holds.
    """

    toolbox: str
    client: tuple[str, ...] = ("docker",)
    runner: Runner = field(default=run)
    clock: Clock = field(default=time)

    def make(self, instance: Instance, wish: Wish) -> DebugCopy:
        """Copy *instance*; what was made until something failed is removed again.

        DriverError when the engine cannot.
        """
        plan = plan_copy(instance, wish, secrets.token_hex(3))
        labels = ["--label", f"{LABEL}={instance.name}", "--label", f"{UNTIL}={int(wish.until)}"]
        try:
            if wish.network == "internal":
                self._network()
            for volume, _source in plan.volumes.values():
                self._do("make a volume", "volume", "create", *labels, volume)
            self._copy_state(instance, plan, pause=wish.pause)
            argv = ["run", "--detach", "--pull", "never", "--name", plan.name, *plan.options]
            done = self.runner(
                [*self.client, *argv, instance.image, *plan.words],
                env=plan.variables,
                check=False,
            )
            if done.status != 0:
                raise DriverError(f"The copy cannot be started: {last_lines(done, 2)}")
        except BaseException:
            self._remove(plan.name, [volume for volume, _source in plan.volumes.values()])
            raise
        volumes = {path: volume for path, (volume, _source) in plan.volumes.items()}
        return DebugCopy(plan.name, instance.name, wish.until, volumes)

    def copies(self, instance: str = "") -> list[DebugCopy]:
        """Return the copies that there are, of one instance or all; also those that ended."""
        label = f"{LABEL}={instance}" if instance else LABEL
        found = find_instances(label=label, client=self.client, runner=self.runner)
        return [
            DebugCopy(
                name=one.name,
                instance=one.labels.get(LABEL, ""),
                until=float(one.labels.get(UNTIL, "0") or 0),
                volumes={
                    str(mount["Destination"]): str(mount["Name"])
                    for mount in one.document.get("Mounts") or ()
                    if str(mount.get("Name") or "").startswith(f"{one.name}-")
                },
            )
            for one in found
        ]

    def remove(self, copy: DebugCopy) -> None:
        """Remove *copy* and its volumes."""
        self._remove(copy.name, list(copy.volumes.values()))

    def expired(self, now: float) -> list[DebugCopy]:
        """Return the copies whose time is over."""
        return [one for one in self.copies() if one.until <= now]

    def _network(self) -> None:
        made = [*self.client, "network", "create", "--internal", "--label", f"{LABEL}=", NETWORK]
        done = self.runner(made, check=False)
        if done.status != 0 and b"already exists" not in done.stderr:
            raise DriverError(f"The network {NETWORK} cannot be made: {last_lines(done, 2)}")

    def _copy_state(self, instance: Instance, plan: CopyPlan, *, pause: bool) -> None:
        paused = bool(pause and instance.pid and plan.volumes) and self._pause(instance)
        try:
            for volume, source in plan.volumes.values():
                mounts = ("--volume", f"{source}:/from:ro", "--volume", f"{volume}:/to")
                copy = ("cp", "--archive", "--reflink=auto", "/from/.", "/to/")
                self._do(f"copy {source}", *_COPY, *mounts, self.toolbox, *copy)
        finally:
            if paused:
                self._unpause(instance)

    def _pause(self, instance: Instance) -> bool:
        """Have *instance* stand still; False when somebody else has it stand still already.

        The engine cannot freeze one that starts processes at that moment, a health check for
        example, or that has used its part of the processor up: a moment later it can.
        """

        def probe() -> bool | None:
            done = self.runner([*self.client, "pause", instance.id], check=False)
            if done.status == 0:
                return True
            if b"already paused" in done.stderr:
                return False
            if b"unable to freeze" in done.stderr:
                return None
            raise _failure("pause the instance", done)

        return wait_for("the instance to stand still", probe, timeout=_PATIENCE, clock=self.clock)

    def _unpause(self, instance: Instance) -> None:
        """Let *instance* go on; one that ended meanwhile, or goes on already, is fine."""
        done = self.runner([*self.client, "unpause", instance.id], check=False)
        gone = (b"is not paused", b"is not running", b"No such container")
        if done.status != 0 and not any(word in done.stderr for word in gone):
            raise _failure("let the instance go on", done)

    def _do(self, what: str, *argv: str) -> None:
        done = self.runner([*self.client, *argv], check=False)
        if done.status != 0:
            raise _failure(what, done)

    def _remove(self, name: str, volumes: Sequence[str]) -> None:
        self.runner([*self.client, "rm", "--force", "--volumes", name], check=False)
        if volumes:
            self.runner([*self.client, "volume", "rm", "--force", *volumes], check=False)


def _failure(what: str, done: Completed) -> DriverError:
    return DriverError(f"The engine could not {what}: {last_lines(done, 2)}")
