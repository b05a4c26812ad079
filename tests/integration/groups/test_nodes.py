# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group on two machines is one group, on both backends."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.groups.work import Ending
from ansible_collections.kiln.immutable.tests.integration.groups.group import Group
from ansible_collections.kiln.immutable.tests.integration.groups.load import Load
from ansible_collections.kiln.immutable.tests.integration.groups.nodes import Node
from ansible_collections.kiln.immutable.tests.integration.groups.operated import until
from ansible_collections.kiln.immutable.tests.integration.groups.releases import docker


@pytest.fixture
def joined(group: Group, node: Node) -> Iterator[Node]:
    """Have the second machine in the Swarm of the first."""
    assert group.kind == "swarm"
    address = docker("info", "--format", "{{.Swarm.NodeAddr}}")
    token = docker("swarm", "join-token", "--quiet", "worker")
    node.docker("swarm", "join", "--token", token, "--advertise-addr", node.address, address)
    try:
        yield node
    finally:
        node.docker("swarm", "leave")
        docker("node", "rm", "--force", node.name)


def containers(group: Group, node: Node) -> int:
    """Return how many instances of *group* run on the second machine."""
    mine = ("--filter", f"label=io.kiln.group={group.name}")
    return len(node.docker("ps", "--quiet", *mine).split())


@pytest.mark.parametrize("group", ["docker"], indirect=True)
def test_several_engines_are_one_group(group: Group, node: Node) -> None:
    hosts = ("unix:///var/run/docker.sock", node.engine)
    spread = replace(group, hosts=hosts, addresses={node.engine: node.address})
    assert spread.rotate("v1").ending is Ending.ROTATED
    assert containers(spread, node) == 1
    with Load(spread.url, slow=False) as load:
        assert spread.rotate("v2").ending is Ending.ROTATED
    assert spread.versions() == ["v2", "v2"]
    assert containers(spread, node) == 1
    assert load.failed == 0, [one.said for one in load.counted]


@pytest.mark.parametrize("group", ["swarm"], indirect=True)
def test_an_instance_that_swarm_moved_is_found_by_the_next_run(group: Group, joined: Node) -> None:
    assert group.rotate("v1").ending is Ending.ROTATED
    assert containers(group, joined) == 1
    with Load(group.url, slow=False) as load:
        assert group.rotate("v2").ending is Ending.ROTATED
    assert group.versions() == ["v2", "v2"]
    assert load.failed == 0, [one.said for one in load.counted]
    assert containers(group, joined) == 1
    docker("node", "update", "--availability", "drain", joined.name)
    until("the other machine to be empty", lambda: containers(group, joined) == 0)
    result = group.rotate("v2")
    assert result.ending is Ending.ROTATED, result.message
    assert group.versions() == ["v2", "v2"]
    for _instance in range(group.size):
        with urllib.request.urlopen(group.url, timeout=15) as answer:
            assert answer.status == 200
