# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a group looks like at one moment, and what can be done to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Life(StrEnum):
    """How far an instance has come."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    """Its process ended, by itself or because it was told to; what it left is still there."""


class Health(StrEnum):
    """What the health checks say, thresholds counted in."""

    UNKNOWN = "unknown"
    PASSING = "passing"
    FAILING = "failing"


class Traffic(StrEnum):
    """What the balancer sends to an instance."""

    OUT = "out"
    """Nothing, and nothing is in flight any more as far as the balancer is asked."""
    DRAIN = "drain"
    """No new requests; those in flight go on."""
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Release:
    """What instances are to run: a version, and what the engines call it.

    :param digest: of the version's index, as the catalog has it.
    :param reference: what the engines start: ``kiln/web:1.0.3``.
    """

    image: str
    version: str
    digest: str
    reference: str


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance, as its backend sees it.

    :param id: its name, unique in the group.
    :param slot: which exclusive volume it has; None without one.
    :param host: address of its engine, as in the definition; empty for the only one.
    :param digest: of the version that it was started from.
    :param settings: :attr:`GroupDefinition.settings` that it was started with.
    :param values: keyed digests of the values that it was given by reference, as
        :func:`.values.marks` writes them.
    :param created: Unix time.
    :param weight: part of the share that an instance at full weight gets, in percent.
    :param connections: requests in flight; None when the balancer does not know.
    :param tainted: why it is to be replaced; empty when it is not.
    :param detail: what the engine or the checks say of its state, for people.
    """

    id: str
    version: str
    digest: str
    settings: str
    life: Life
    health: Health = Health.UNKNOWN
    traffic: Traffic = Traffic.OUT
    weight: int = 100
    connections: int | None = 0
    slot: int | None = None
    host: str = ""
    created: float = 0.0
    tainted: str = ""
    restarts: int = 0
    exit_status: int | None = None
    detail: str = ""
    values: str = ""

    @property
    def serving(self) -> bool:
        """Whether users of the service get answers from it."""
        return (
            self.life is Life.RUNNING
            and self.health is Health.PASSING
            and self.traffic is Traffic.READY
        )

    @property
    def alive(self) -> bool:
        """Whether it counts as an instance of the group."""
        return self.life is not Life.STOPPED


@dataclass(frozen=True, slots=True)
class Host:
    """An engine of the group.

    :param free: how many more instances it can take; None when it does not say.
    """

    address: str
    reachable: bool = True
    free: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """A group at one moment.

    :param now: Unix time by the clock of whoever observes.
    :param revision: changes whenever anything that a plan depends on does; a saved plan and Swarm's
        version index compare it. Health and traffic are no part of it.
    """

    instances: tuple[Instance, ...]
    hosts: tuple[Host, ...] = (Host(""),)
    now: float = 0.0
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """Start an instance, outside of the balancer's traffic but under its checks."""

    id: str
    release: Release
    slot: int | None = None
    host: str = ""


@dataclass(frozen=True, slots=True)
class Send:
    """Let the balancer send to an instance, at a part of the full share: 1 to 100 percent."""

    id: str
    weight: int = 100


@dataclass(frozen=True, slots=True)
class Drain:
    """Let no new request come to an instance."""

    id: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Take a drained instance out of the balancer, send its stop signal, wait, and remove it.

    Its volumes stay. One that is already gone is none of the backend's concern.
    """

    id: str
    reason: str = ""


Action = Start | Send | Drain | Stop


class Fault(StrEnum):
    """Whose fault it is that an action failed."""

    RELEASE = "release"
    PLATFORM = "platform"
    LOCK = "lock"
    """The lock is somebody else's now; nothing was done."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one action.

    :param fault: None when it was done.
    """

    action: Action
    fault: Fault | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that preflight found.

    :param fault: RELEASE (the image) or PLATFORM (engines, ports, room).
    """

    fault: Fault
    message: str


@dataclass(frozen=True, slots=True)
class Lock:
    """Who may change a group, as the backend keeps it.

    :param token: told apart from all others, so that a holder who slept is found out.
    :param since: Unix time at which it was taken.
    :param until: Unix time at which the lease ends unless it is renewed.
    """

    holder: str
    token: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class HookResult:
    """How a one-off container ended."""

    status: int
    output: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can honour; a definition that asks for more is refused.

    :param weights: whether a share of the traffic can be set per instance.
    :param health: the kinds of checks that it does.
    :param hosts: whether a group can be on several engines.
    """

    name: str
    weights: bool = True
    drain: bool = True
    blue_green: bool = True
    exclusive_volumes: bool = True
    hooks: bool = True
    hosts: bool = False
    health: tuple[str, ...] = ("http", "tcp", "command", "engine")
    modes: tuple[str, ...] = ("http", "tcp")
