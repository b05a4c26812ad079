# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What checks from outside of a container stand on: its name, its engine and its definition."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import load
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    Definition,
)
from ansible_collections.kiln.immutable.tests.testinfra.container_shell import (
    is_container,
    open_host,
)
from testinfra.host import Host

ASKS_ROOT = ("as_root", "as_machine")
"""The groups of hosts for which a file's checks are root's."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that say which image is checked."""
    parser.addoption(
        "--definition", type=Path, metavar="FILE", help="the image definition of the containers"
    )
    parser.addoption(
        "--kind", choices=("container", "vm"), help="what the image is for, without a definition"
    )
    parser.addoption(
        "--roles", metavar="NAMES", help="the roles whose controls hold, without a definition"
    )


@pytest.fixture(scope="session")
def definition(request: pytest.FixtureRequest) -> Definition:
    """Return the definition of the image that is checked."""
    path = request.config.getoption("definition")
    if path is None:
        pytest.fail("Name the image's definition: --definition=images/NAME.yml.", pytrace=False)
    return load(path)


@pytest.fixture(scope="session")
def docker() -> Callable[..., str]:
    """Return a function that runs the engine's client to a good end and gives its output."""

    def run(*arguments: str) -> str:
        command = ["docker", *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    return run


@pytest.fixture(scope="module")
def container(host: Host) -> str:
    """Return the name of the container that *host* is."""
    return str(host.backend.get_hostname())


@pytest.fixture(scope="session")
def shells() -> Iterator[dict[str, Host]]:
    """Return the containers in which root has an open shell, by their names."""
    opened: dict[str, Host] = {}
    yield opened
    for one in opened.values():
        one.backend.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, host: Host, shells: dict[str, Host]) -> Host:
    """Return the host that is checked: by root's open shell, where a container's root is asked."""
    group = getattr(request.module, "testinfra_hosts", [""])[0].removeprefix("ansible://")
    if group not in ASKS_ROOT or not is_container(host):
        return host
    name = host.backend.get_hostname()
    if name not in shells:
        shells[name] = open_host(name)
    return shells[name]


@pytest.fixture
def inspected(docker: Callable[..., str], container: str) -> Callable[[], dict[str, Any]]:
    """Return a function that gives what the engine says of the container now."""

    def inspect() -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(docker("container", "inspect", container))
        return found[0]

    return inspect
