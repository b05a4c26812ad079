# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images for groups, baked once, and groups on both backends that leave nothing behind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.client import Client
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.network import (
    find_network,
)
from ansible_collections.kiln.immutable.tests.integration.groups.group import (
    KINDS,
    Group,
    free_port,
)
from ansible_collections.kiln.immutable.tests.integration.groups.nodes import Node, second_node
from ansible_collections.kiln.immutable.tests.integration.groups.releases import (
    bake,
    docker,
    remove,
    vary,
)

NGINX = '/usr/sbin/nginx -e stderr -g "daemon off;"'
QUIT = "trap 'kill -QUIT $child' QUIT TERM"

# nginx sends a file after the header, in a call of its own: killed between the two, it leaves half
# an answer, which no balancer can ask another instance for. Without sendfile it is one call.
WHOLE_ANSWERS = "sed -i 's/sendfile on/sendfile off/' /etc/nginx/nginx.conf"

# What makes the other releases of the first: a change of its files, or another program.
VARIANTS = {
    "v2": ("echo version 2 > /srv/www/index.html", None),
    "sick": ("sed -i s/healthz/nowhere/ /etc/nginx/nginx.conf", None),
    # Ends some seconds after it began to answer.
    "dying": (
        WHOLE_ANSWERS,
        f"{NGINX} & child=$!; {QUIT}; sleep 6 & wait -n; kill -9 $child; exit 7",
    ),
    # PID 1 that ignores what it is asked; its server goes on as long as it does.
    "stubborn": ("true", f"trap '' QUIT TERM; {NGINX} & while :; do wait; done"),
}


@dataclass(frozen=True)
class Images:
    """What the engine calls the balancer and each release."""

    balancer: str
    releases: Mapping[str, str]


@pytest.fixture(scope="session")
def images(checkout: Path) -> Iterator[Images]:
    """Return the images, of which those are removed at the end that were not there before."""
    before = set(docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())
    baked = bake(checkout)
    mark = uuid.uuid4().hex[:8]
    releases = {"v1": baked["group-app"]}
    for name, (change, program) in VARIANTS.items():
        releases[name] = f"kiln-groups-{mark}:{name}"
        vary(baked["group-app"], releases[name], change, program)
    yield Images(baked["balancer"], releases)
    made = [image for image in (*releases.values(), *baked.values()) if image not in before]
    docker("image", "rm", "--force", *made)


def own_address() -> str:
    """Return the engine's address on its bridge, which it does not say in its first run."""
    bridge = find_network(Client(), "bridge")
    assert bridge is not None
    return bridge.gateway


@pytest.fixture(scope="session")
def _swarm() -> Iterator[None]:
    """Have a Swarm of this one engine, unless there is one; others on this machine may join."""
    state = docker("info", "--format", "{{.Swarm.LocalNodeState}}")
    if state != "active":
        address = own_address()
        docker("swarm", "init", "--advertise-addr", address, "--listen-addr", f"{address}:2377")
    yield
    if state != "active":
        docker("swarm", "leave", "--force")


@pytest.fixture(scope="session")
def node(images: Images) -> Iterator[Node]:
    """Return a second machine that has the two good releases."""
    with second_node(own_address()) as made:
        made.load([images.releases["v1"], images.releases["v2"]])
        yield made


@pytest.fixture(scope="module", params=KINDS)
def group(
    request: pytest.FixtureRequest,
    images: Images,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Group]:
    """Return a group without an instance, on each backend in turn."""
    if request.param == "swarm":
        request.getfixturevalue("_swarm")
    name = f"g{uuid.uuid4().hex[:8]}"
    journal = tmp_path_factory.mktemp("journal") / "journal"
    made = Group(request.param, name, free_port(), images.balancer, images.releases, journal)
    yield made
    remove(made)
