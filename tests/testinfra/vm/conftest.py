# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that runs the disk of an image in ``molecule/vm``, asked as root over SSH.

Which one is said by ``--hosts``, as the boot test of a bake does. Without it, it is the machine
that the scenario booted from the disk of vm-bookworm.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import load
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import DiskSpec
from ansible_collections.kiln.immutable.tests.testinfra.container_shell import open_host
from ansible_collections.kiln.immutable.tests.testinfra.vm.instance import Instance
from testinfra.host import Host

IDENTITY = "cat /etc/machine-id /var/lib/ssh/ssh_host_*_key.pub"
IMAGES = Path(__file__).resolve().parents[3] / "molecule" / "vm" / "images"


@pytest.fixture(scope="session")
def instance() -> Instance:
    """Return the machine that the scenario made."""
    return Instance(Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "vm")


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest) -> str:
    """Return the name of the image whose disk the machine runs."""
    hosts: str | None = request.config.getoption("hosts")
    return hosts.removeprefix("ssh://") if hosts else "vm-bookworm"


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest, image: str) -> Iterator[Host]:
    """Return the machine; one shell over SSH serves all commands."""
    config = request.config.getoption("ssh_config")
    if not request.config.getoption("hosts"):
        config = request.getfixturevalue("instance").ssh_config
    it = open_host(image, ["ssh", "-F", str(config), image, "sudo", "/bin/sh"])
    yield it
    it.backend.close()


@pytest.fixture(scope="session")
def disk(image: str) -> DiskSpec:
    """Return what the machine's disk was to be."""
    found = load(IMAGES / f"{image}.yml").disk
    assert found is not None
    return found


@pytest.fixture(scope="session")
def life(host: Host) -> str:
    """Return who the machine is, which leaves notes in what lasts and in what does not."""
    host.check_output("for path in /var/lib/kept /etc /var /home; do echo first > $path/note; done")
    host.check_output("sync")
    return str(host.check_output(IDENTITY))
