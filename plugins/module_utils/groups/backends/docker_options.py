# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a definition says to the Docker backend itself: ``backend.options``, each key known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ...core.errors import DriverError
from ..definition_model import GroupDefinition
from .client import Client

BALANCER = "kiln/balancer"
_ALGORITHMS = ("roundrobin", "leastconn")
_KEYS = ("balancer", "bind", "network", "algorithm", "addresses")
_SWARM_KEYS = (*_KEYS, "volume_driver")


@dataclass(frozen=True, slots=True)
class DockerOptions:
    """The settings of the backend.

    :param balancer: the image with HAProxy; without a tag, its highest version that is there.
    :param bind: the address of the first engine's host that services are published at.
    :param network: the name of the group's network; ``kiln-GROUP`` when empty.
    :param addresses: how the balancer reaches each engine's host, where DOCKER_HOST does not say;
        at Swarm, each node by its host name.
    :param volume_driver: at Swarm, the driver of volumes that all nodes have.
    """

    balancer: str = BALANCER
    bind: str = ""
    network: str = ""
    algorithm: str = "roundrobin"
    addresses: Mapping[str, str] = field(default_factory=dict, hash=False)
    volume_driver: str = ""

    @classmethod
    def of(cls, definition: GroupDefinition) -> DockerOptions:
        """Return the settings of *definition*; DriverError names the line of a wrong one."""
        given = definition.backend.options
        known = _SWARM_KEYS if definition.backend.kind == "swarm" else _KEYS
        for key, value in given.items():
            where = definition.at(f"backend.options.{key}")
            if key not in known:
                raise DriverError(
                    f"{where}: the backend {definition.backend.kind} has no such option; it has"
                    f" {', '.join(known)}."
                )
            kind = dict if key == "addresses" else str
            if not isinstance(value, kind):
                raise DriverError(f"{where}: it must be {'a mapping' if kind is dict else 'text'}.")
        found = cls(**given)
        if found.algorithm not in _ALGORITHMS:
            where = definition.at("backend.options.algorithm")
            raise DriverError(f"{where}: it must be {' or '.join(_ALGORITHMS)}.")
        return found

    def network_name(self, group: str) -> str:
        """Return the name of the network of *group*."""
        return self.network or f"kiln-{group}"

    def reach(self, host: str, gateway: str) -> str:
        """Return the address at which the balancer reaches the ports of the engine's *host*.

        :param gateway: of the balancer's network: the way to the host that it runs on.
        """
        if host in self.addresses:
            return self.addresses[host]
        name = urlsplit(host).hostname if "://" in host else None
        return name or gateway

    def balancer_image(self, client: Client) -> str:
        """Return the full name of the balancer's image; DriverError when the engine has none."""
        name, _colon, tag = self.balancer.rpartition(":")
        if name and "/" not in tag:
            return self.balancer
        form = ("--format", "{{.Repository}}:{{.Tag}}")
        names = client("image", "ls", *form, self.balancer).text.split()
        found = [one for one in names if re.fullmatch(r"[0-9.]+", one.rpartition(":")[2])]
        if not found:
            raise DriverError(
                f"The engine has no image {self.balancer}, which balances the load of the group.",
                hint="Bake it: ansible-playbook kiln.immutable.bake -e kiln_images=FOLDER, with"
                " examples/balancer/balancer.yml of this collection in it.",
            )
        return max(found, key=_version)


def _version(reference: str) -> tuple[int, ...]:
    return tuple(int(part) for part in reference.rpartition(":")[2].split(".") if part)
