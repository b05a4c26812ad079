# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a group's HAProxy: pure text from what the group is at the moment.

The image of the balancer holds what all groups have in common; this is the other file. It is
written anew with each step, so that HAProxy comes back after a restart with the instances, weights
and drained slots that it had. Slots are servers with neither address nor traffic until an instance
takes one: an address can be given at run time, without a reload.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..definition_model import HealthCheck
from ..model import Traffic

FULL_WEIGHT = 100
"""Of an instance with its whole share. Not 1: parts of it must be whole numbers too."""

CLOSING = "proc.closing"
"""The variable, which the image's file sets to 0, that ends each connection after its answer."""

# How a dead instance is noticed where no check of the definition is HAProxy's.
_CONNECT = HealthCheck("tcp", interval=1.0, timeout=2.0, healthy=1, unhealthy=2)


@dataclass(frozen=True, slots=True)
class Service:
    """A port that users of the group speak to, and the one of the instances behind it."""

    published: int
    container: int
    mode: str = "http"

    @property
    def backend(self) -> str:
        """The name of its part of the configuration."""
        return f"be_{self.published}"


@dataclass(frozen=True, slots=True)
class Slot:
    """A place behind the balancer.

    :param ports: of the instance in it at *address*, one for each service; empty in a free slot.
    :param weight: 1 to 100, counts while the traffic is READY.
    """

    name: str
    address: str = ""
    ports: tuple[int, ...] = ()
    traffic: Traffic = Traffic.OUT
    weight: int = FULL_WEIGHT

    @property
    def taken(self) -> bool:
        """Whether an instance may be in it."""
        return bool(self.address) and self.traffic is not Traffic.OUT


@dataclass(frozen=True, slots=True)
class Balance:
    """What HAProxy does for one group.

    :param checks: those of the definition that HAProxy does: http and tcp.
    """

    group: str
    services: tuple[Service, ...]
    checks: tuple[HealthCheck, ...] = ()
    slots: tuple[Slot, ...] = field(default=())
    algorithm: str = "roundrobin"


def free_slots(count: int) -> tuple[Slot, ...]:
    """Return *count* slots without an instance."""
    return tuple(Slot(f"slot{number}") for number in range(1, count + 1))


def render(balance: Balance) -> str:
    """Return the file for *balance*."""
    lines = [f"# The instance group {balance.group}, as it is now: written with each step."]
    for number, service in enumerate(balance.services):
        lines += ["", *_frontend(service), "", *_backend(balance, service, number)]
    return "\n".join(lines) + "\n"


def structure(text: str) -> str:
    """Return what of a file made by :func:`render` cannot be changed at run time.

    When that differs, HAProxy has to be loaded anew.
    """
    lines = text.splitlines()
    return "\n".join(
        " ".join(line.split()[:2]) if line.strip().startswith("server ") else line for line in lines
    )


def _frontend(service: Service) -> list[str]:
    lines = [
        f"frontend fe_{service.published}",
        f"    bind :{service.published}",
        f"    mode {service.mode}",
        f"    default_backend {service.backend}",
    ]
    if service.mode == "http":
        # A request that may have done something is sent once; others may be sent again.
        lines += [
            "    http-request disable-l7-retry unless { method GET HEAD OPTIONS }",
            f"    http-after-response set-header Connection close if {{ var({CLOSING}) -m int 1 }}",
        ]
    return lines


def _backend(balance: Balance, service: Service, number: int) -> list[str]:
    checks = _checks_of(balance, service, first=number == 0)
    used = checks or (_CONNECT,)
    rise, fall = max(one.healthy for one in used), max(one.unhealthy for one in used)
    lines = [
        f"backend {service.backend}",
        f"    mode {service.mode}",
        f"    balance {balance.algorithm}",
    ]
    if service.mode == "http":
        lines += ["    http-reuse safe", "    retry-on conn-failure empty-response"]
    lines += _check_lines(service, checks)
    lines += [
        f"    timeout check {_milliseconds(max(one.timeout for one in used))}",
        f"    default-server check inter {_milliseconds(min(one.interval for one in used))}",
        f"    default-server rise {rise} fall {fall}",
        # What requests run into counts as well: sooner than the next check.
        "    default-server observe layer4 error-limit 3 on-error mark-down",
    ]
    for slot in balance.slots:
        address = slot.address or "0.0.0.0"  # noqa: S104 (HAProxy's sign for none yet)
        port = slot.ports[number] if slot.ports else service.container
        lines.append(_server(slot.name, address, port, slot))
    return lines


def _server(name: str, address: str, port: int, slot: Slot) -> str:
    if not slot.taken:
        return f"    server {name} {address}:{port} weight {FULL_WEIGHT} disabled"
    # Weight 0 is what a drained server is in a file.
    weight = slot.weight if slot.traffic is Traffic.READY else 0
    host = f"[{address}]" if ":" in address else address
    return f"    server {name} {host}:{port} weight {weight}"


def _checks_of(balance: Balance, service: Service, *, first: bool) -> tuple[HealthCheck, ...]:
    """Return the checks of the service's own port; the *first* has those of other ports too."""
    own = {one.container for one in balance.services}
    return tuple(
        check
        for check in balance.checks
        if check.port == service.container or (first and check.port not in own)
    )


def _check_lines(service: Service, checks: Sequence[HealthCheck]) -> list[str]:
    if not checks:
        return []
    only_tcp = all(check.kind == "tcp" for check in checks)
    word = "tcp-check" if only_tcp else "http-check"
    lines = ["    option tcp-check" if only_tcp else "    option httpchk"]
    for check in checks:
        port = "" if check.port == service.container else f" port {check.port}"
        lines.append(f"    {word} connect{port}")
        if check.kind == "http":
            status = ",".join(str(number) for number in check.status)
            host = f"localhost:{check.port}"
            request = f"meth GET uri {_quoted(check.path)} ver HTTP/1.1"
            lines += [
                f"    http-check send {request} hdr Host {host} hdr Connection close",
                f"    http-check expect status {status}",
            ]
    return lines


def _quoted(text: str) -> str:
    """Return *text* as one word of HAProxy's, whatever is in it."""
    return "'" + text.replace("'", "'\\''") + "'"


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
