# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said to HAProxy's runtime socket, and what it answers.

Two traps of HAProxy 2.6 are handled here. A server that leaves maintenance counts as up before
its first check, so a slot is taken with its health forced down: it comes up by as many passed
checks in a row as the definition asks for. And ``show stat`` goes on to show the last check of
the instance that had the slot before.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...core.errors import DriverError
from ..model import Health, Traffic
from .configuration import CLOSING, Balance, Slot

STATE = "show servers state; show stat"
"""The question that :func:`parse_state` understands the answer of."""

CLOSE = f"experimental-mode on; set var {CLOSING} int(1)"
"""Has each connection end after its next answer, which HAProxy does itself only for active ones."""

_MAINTENANCE = 0x01 | 0x02 | 0x20
_DRAIN = 0x08 | 0x10
_COLUMNS = "# be_id "
_STATISTICS = "# pxname,"
_UNCHECKED = "INI"


@dataclass(frozen=True, slots=True)
class SlotState:
    """What HAProxy says of a slot.

    :param connections: requests in flight, those that wait for the instance counted in.
    :param detail: of the last check, for people.
    """

    slot: Slot
    health: Health
    connections: int
    detail: str


@dataclass(frozen=True, slots=True)
class _Server:
    backend: str
    name: str
    address: str
    port: int
    traffic: Traffic
    weight: int
    health: Health
    connections: int
    detail: str


def take(balance: Balance, slot: Slot) -> list[str]:
    """Return what puts an instance's address into a slot, under checks and without traffic."""
    commands = []
    for service, port in zip(balance.services, slot.ports, strict=True):
        server = f"set server {service.backend}/{slot.name}"
        commands += [
            f"{server} state maint",
            f"{server} addr {slot.address} port {port}",
            f"{server} state drain",
            f"{server} health down",
        ]
    return commands


def send(balance: Balance, slot: Slot) -> list[str]:
    """Return what lets a slot have the part of the traffic that its weight says."""
    return [
        f"set server {service.backend}/{slot.name} {word}"
        for service in balance.services
        for word in (f"weight {slot.weight}", "state ready")
    ]


def drain(balance: Balance, slot: Slot) -> list[str]:
    """Return what keeps new requests from a slot."""
    return [f"set server {one.backend}/{slot.name} state drain" for one in balance.services]


def release(balance: Balance, slot: Slot) -> list[str]:
    """Return what takes a slot out of service."""
    return [f"set server {one.backend}/{slot.name} state maint" for one in balance.services]


def refuse_errors(answer: str) -> None:
    """Raise DriverError when HAProxy did not do what it was told.

    It answers nothing to most commands, and says what an address was before.
    """
    wrong = [
        line
        for line in answer.splitlines()
        if line.strip() and "changed from" not in line and "no need to change" not in line
    ]
    if wrong:
        raise DriverError(f"The balancer refused a command: {'; '.join(wrong)}")


def parse_state(balance: Balance, answer: str) -> list[SlotState]:
    """Return the state of each slot that HAProxy has, from its answer to :data:`STATE`.

    With several services a slot is as healthy as the worst of them and has the requests of all.
    """
    servers = _servers(answer)
    found = []
    names = dict.fromkeys(server.name for server in servers)
    for name in names:
        mine = {server.backend: server for server in servers if server.name == name}
        parts = [mine[one.backend] for one in balance.services if one.backend in mine]
        if not parts:
            continue
        first = parts[0]
        empty = first.address in ("", "0.0.0.0", "-")  # noqa: S104 (HAProxy's sign for none yet)
        slot = Slot(
            name,
            "" if empty else first.address,
            () if empty else tuple(part.port for part in parts),
            first.traffic,
            first.weight,
        )
        found.append(
            SlotState(
                slot,
                _worst(part.health for part in parts),
                sum(part.connections for part in parts),
                "; ".join(dict.fromkeys(part.detail for part in parts if part.detail)),
            )
        )
    return found


def _servers(answer: str) -> list[_Server]:
    states = {(row["be_name"], row["srv_name"]): row for row in _state_rows(answer)}
    found = []
    for row in _statistics(answer):
        key = (row["pxname"], row["svname"])
        if key in states:
            found.append(_server(states[key], row))
    return found


def _server(state: Mapping[str, str], row: Mapping[str, str]) -> _Server:
    admin, weight = int(state["srv_admin_state"]), int(state["srv_uweight"])
    if admin & _MAINTENANCE:
        traffic = Traffic.OUT
    elif admin & _DRAIN or weight == 0:
        traffic = Traffic.DRAIN
    else:
        traffic = Traffic.READY
    said = (row["check_status"], row["check_code"], row["last_chk"])
    return _Server(
        state["be_name"],
        state["srv_name"],
        state["srv_addr"],
        int(state["srv_port"]),
        traffic,
        max(1, weight),
        _health(row, traffic),
        int(row["scur"] or 0) + int(row["qcur"] or 0),
        " ".join(word for word in said if word),
    )


def _health(row: Mapping[str, str], traffic: Traffic) -> Health:
    """Return what the checks say; what the last one said is no matter (see above).

    One that is down outside of the traffic may only be on its way up.
    """
    if row["check_status"].removeprefix("* ") == _UNCHECKED:
        # HAProxy has just begun and takes everyone for up; some may not even have started yet.
        return Health.UNKNOWN
    if row["status"].startswith("DOWN"):
        return Health.FAILING if traffic is Traffic.READY else Health.UNKNOWN
    if row["status"].startswith(("UP", "NOLB", "DRAIN")):
        return Health.PASSING
    return Health.UNKNOWN


def _worst(all_of: Iterable[Health]) -> Health:
    found = set(all_of)
    for worst in (Health.FAILING, Health.UNKNOWN):
        if worst in found:
            return worst
    return Health.PASSING


def _state_rows(answer: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    names: Sequence[str] = ()
    for line in answer.splitlines():
        if line.startswith(_COLUMNS):
            names = line[2:].split()
        elif names and (not line.strip() or line.startswith("#")):
            break
        elif names:
            rows.append(dict(zip(names, line.split(), strict=False)))
    return rows


def _statistics(answer: str) -> list[dict[str, str]]:
    start = answer.find(_STATISTICS)
    if start < 0:
        raise DriverError(f"The balancer gave no statistics: {answer.strip()[:200] or 'nothing'}")
    return list(csv.DictReader(answer[start + 2 :].splitlines()))
