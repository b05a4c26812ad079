# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of a group, and addresses of instances that nobody else has had lately."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Set
from dataclasses import dataclass

from ...core.command import last_lines
from ...core.errors import DriverError
from .client import GROUP_LABEL, Client, labels

PORTS = (20000, 28000)
"""Of the hosts, for instances of groups on several engines: below those that systems give away."""
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Network:
    """A network with addresses that the driver gives: those in the upper half of *subnet*.

    The engine would give an instance that restarts another address, and a new one that of an
    instance that is just gone, at which the balancer may still look for it.
    """

    name: str
    subnet: ipaddress.IPv4Network
    gateway: str

    def free_address(self, instance: str, taken: Set[str]) -> str:
        """Return an address that is not among *taken*, another for each *instance*."""
        upper = list(self.subnet.subnets(1))[1]
        count = upper.num_addresses - 1  # without the broadcast address
        start = _number(instance)
        for step in range(count):
            address = str(upper[(start + step) % count])
            if address not in taken:
                return address
        raise DriverError(f"The network {self.name} ({self.subnet}) has no free address.")


def free_port(instance: str, taken: Set[int]) -> int:
    """Return a port of a host that is not among *taken*, another for each *instance*."""
    first, last = PORTS
    start = _number(instance)
    for step in range(last - first):
        port = first + (start + step) % (last - first)
        if port not in taken:
            return port
    raise DriverError(f"No port between {first} and {last} is free for {instance}.")


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def find_network(client: Client, name: str) -> Network | None:
    """Return the group's network, None when there is none."""
    found = client.inspect("network", [name])
    if not found:
        return None
    for pool in found[0]["IPAM"]["Config"] or ():
        subnet = ipaddress.ip_network(pool["Subnet"])
        if isinstance(subnet, ipaddress.IPv4Network):
            return Network(name, subnet, str(pool.get("Gateway") or subnet[1]))
    raise DriverError(f"The network {name} has no IPv4 subnet, which the balancer needs.")


def ensure_network(client: Client, group: str, name: str) -> Network:
    """Return the group's network, made when there is none.

    The engine lets addresses be chosen only in a subnet that was asked for, so it is first let to
    choose one that is free, and then asked for that.
    """
    if network := find_network(client, name):
        return network
    marks = labels({GROUP_LABEL: group})
    for _attempt in range(_TRIES):
        client("network", "create", *marks, name)
        chosen = find_network(client, name)
        client("network", "rm", name)
        if chosen is None:
            continue
        lower = next(iter(chosen.subnet.subnets(1)))
        pool = ["--subnet", str(chosen.subnet), "--ip-range", str(lower)]
        done = client(
            "network", "create", *marks, *pool, "--gateway", chosen.gateway, name, check=False
        )
        if done.status == 0:
            return chosen
        if b"verlap" not in done.stderr:
            raise client.failed(f"docker network create {name}", done)
    raise DriverError(
        f"The network {name} could not be made: {last_lines(done)}",
        hint="Others take the same subnets at the same time; try again.",
    )
