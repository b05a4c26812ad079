# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container with the role nginx's server does for those outside, until its end."""

from __future__ import annotations

import http.client
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.waiting import wait_for

testinfra_hosts = ["ansible://as_service"]

Inspect = Callable[[], dict[str, Any]]

START = 60.0  # seconds until a container must be healthy
STOP = 10  # seconds after which the engine kills one that does not end: its own default


def published(inspected: Inspect) -> tuple[str, int]:
    """Return the address at which the container's first port is reached now."""
    bindings = inspected()["NetworkSettings"]["Ports"]
    first = next(iter(bindings.values()))[0]
    return first["HostIp"], int(first["HostPort"])


def get(address: tuple[str, int], path: str) -> tuple[int, str]:
    """Return the status and the body that a GET is answered with."""
    with closing(http.client.HTTPConnection(*address, timeout=5)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def answers(address: tuple[str, int]) -> bool:
    """Return whether a server takes requests at *address*."""
    try:
        return get(address, "/healthz")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def settled_health(inspected: Inspect) -> str:
    """Return what the engine thinks of the container's health once it has made its mind up."""

    def probe() -> str | None:
        status = str(inspected()["State"]["Health"]["Status"])
        return None if status == "starting" else status

    return wait_for("the container's health", probe, timeout=START)


@pytest.fixture
def address(inspected: Inspect) -> tuple[str, int]:
    """Return where the container is reached."""
    return published(inspected)


@pytest.fixture
def restarted(docker: Callable[..., str], container: str, inspected: Inspect) -> Iterator[None]:
    """Start the container again after a test that stops it."""
    yield
    docker("start", container)
    address = published(inspected)
    wait_for("the server to answer again", lambda: answers(address) or None, timeout=START)


def test_its_health_check_finds_it_healthy(inspected: Inspect) -> None:
    assert settled_health(inspected) == "healthy"


def test_it_serves_the_site(address: tuple[str, int]) -> None:
    status, body = get(address, "/")
    assert status == 200
    assert "<html" in body


def test_it_answers_the_health_request(address: tuple[str, int]) -> None:
    assert get(address, "/healthz") == (200, "ok\n")


def test_it_has_nothing_to_say_of_other_paths(address: tuple[str, int]) -> None:
    assert get(address, "/etc/passwd")[0] == 404


def test_it_writes_nothing_but_its_state_while_it_serves(
    docker: Callable[..., str], container: str, address: tuple[str, int]
) -> None:
    before = docker("diff", container)
    for path in ("/", "/style.css", "/there-is-no-such-page", "/healthz", "/%00"):
        get(address, path)
    with closing(http.client.HTTPConnection(*address, timeout=5)) as connection:
        # Longer than what is held in memory.
        connection.request("POST", "/", body=b"x" * 500_000)
        assert connection.getresponse().status == 405
    assert docker("diff", container) == before


@pytest.mark.usefixtures("restarted")
def test_it_stops_by_itself_on_its_signal(
    docker: Callable[..., str], container: str, inspected: Inspect
) -> None:
    docker("stop", "-t", str(STOP), container)
    state = inspected()["State"]
    assert (state["Running"], state["ExitCode"]) == (False, 0)  # 137 is a kill


@pytest.mark.usefixtures("restarted")
def test_it_answers_a_request_that_came_before_its_signal(
    container: str, inspected: Inspect, address: tuple[str, int]
) -> None:
    # The second request follows the first in the same packet and has no end yet. The answer to
    # the first shows that the server has read both.
    first = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    second = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    with (
        socket.create_connection(address, timeout=STOP) as client,
        client.makefile("rb") as received,
    ):
        client.sendall(first + second)
        assert received.readline() == b"HTTP/1.1 200 OK\r\n"
        stopping = subprocess.Popen(["docker", "stop", "-t", str(STOP), container])
        try:
            wait_for(
                "the server to take no more requests",
                lambda: None if answers(address) else True,
                timeout=STOP,
            )
            client.sendall(b"\r\n")
            rest = received.read()
        finally:
            status = stopping.wait()
    head, _blank, answer = rest.partition(b"HTTP/1.1 200 OK\r\n")
    assert head.endswith(b"ok\n")
    assert answer.rstrip().endswith(b"</html>")
    state = inspected()["State"]
    assert (status, state["Running"], state["ExitCode"]) == (0, False, 0)
