# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that nobody else has had lately, and the settings of the backend itself."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.client import Client
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.docker_options import (
    DockerOptions,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.network import (
    PORTS,
    Network,
    free_port,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    BackendChoice,
    GroupDefinition,
    ImageChoice,
)

NETWORK = Network("kiln-web", ipaddress.IPv4Network("172.18.0.0/28"), "172.18.0.1")


def test_an_instance_has_an_address_that_the_engine_does_not_give_away() -> None:
    for number in range(50):
        address = ipaddress.IPv4Address(NETWORK.free_address(f"web-{number}", set()))
        assert ipaddress.IPv4Address("172.18.0.8") <= address < ipaddress.IPv4Address("172.18.0.15")


def test_no_two_instances_have_the_same() -> None:
    taken: set[str] = set()
    for number in range(7):
        taken.add(NETWORK.free_address(f"web-{number}", taken))
    assert len(taken) == 7
    with pytest.raises(DriverError, match="no free address"):
        NETWORK.free_address("web-8", taken)


def test_the_same_instance_has_the_same_port_again() -> None:
    port = free_port("web-1/8080", set())
    assert free_port("web-1/8080", set()) == port
    assert free_port("web-1/8080", {port}) != port
    assert PORTS[0] <= port < PORTS[1]


def settings(kind: str = "docker", **options: Any) -> DockerOptions:
    choice = BackendChoice(kind, (), options)
    return DockerOptions.of(GroupDefinition("web", ImageChoice("web", version="1"), 1, choice))


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(DriverError, match="no such option; it has balancer, bind"):
        settings(balanser="x")
    with pytest.raises(DriverError, match="no such option"):
        settings(volume_driver="nfs")
    assert settings("swarm", volume_driver="nfs").volume_driver == "nfs"


@pytest.mark.parametrize(
    ("key", "value"), [("bind", 1), ("addresses", "x"), ("algorithm", "random")]
)
def test_a_wrong_setting_is_refused(key: str, value: Any) -> None:
    with pytest.raises(DriverError, match=f"options.{key}: it must be"):
        settings(**{str(key): value})


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("ssh://deploy@web1.example.org", "web1.example.org"),
        ("tcp://10.0.0.7:2376", "10.0.0.7"),
        ("unix:///run/docker.sock", "172.18.0.1"),
        ("", "172.18.0.1"),
        ("unix:///run/other.sock", "10.0.0.9"),
    ],
)
def test_the_balancer_reaches_an_engines_host(host: str, address: str) -> None:
    options = settings(addresses={"unix:///run/other.sock": "10.0.0.9"})
    assert options.reach(host, "172.18.0.1") == address


def test_the_highest_version_of_the_balancer_is_taken() -> None:
    said = b"kiln/balancer:1.0.9\nkiln/balancer:dev\nkiln/balancer:1.0.10\n"
    client = Client(runner=lambda *_words, **_options: Completed(0, said, b""))
    assert settings().balancer_image(client) == "kiln/balancer:1.0.10"
    assert settings(balancer="kiln/balancer:1.0.2").balancer_image(client) == "kiln/balancer:1.0.2"


def test_a_missing_balancer_says_what_to_bake() -> None:
    client = Client(runner=lambda *_words, **_options: Completed(0, b"", b""))
    with pytest.raises(DriverError, match="no image kiln/balancer") as error:
        settings().balancer_image(client)
    assert "examples/balancer/balancer.yml" in error.value.hint


def test_only_absence_counts_as_absence() -> None:
    def client(status: int, answer: bytes, error: bytes) -> Client:
        return Client(runner=lambda *_words, **_options: Completed(status, answer, error))

    assert client(1, b"[]", b"Error: No such container: x\n").inspect("container", ["x"]) == []
    found = [{"Id": "1"}]
    assert client(0, json.dumps(found).encode(), b"").inspect("container", ["x"]) == found
    with pytest.raises(DriverError, match="Cannot connect"):
        client(1, b"", b"Cannot connect to the Docker daemon\n").inspect("container", ["x"])
