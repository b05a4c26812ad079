# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images whose controls are proved: baked from examples, as containers with root in them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import Definition
from ansible_collections.kiln.immutable.tests.testinfra.container_shell import open_host
from testinfra.host import Host

LIMIT = 1500  # seconds that the bakes of all images may take, when none of their layers is there

StartRoot = Callable[[Definition], Host]


def docker(*arguments: str) -> str:
    """Run the engine's client to a good end and give its output."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {arguments}: {done.stderr}"
    return done.stdout.strip()


class Roots:
    """Containers of baked images, one for each image at a time."""

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout
        self._images: dict[str, str] = {}
        self._brought: list[str] = []
        self._hosts: dict[str, Host] = {}

    def bake(self, folder: Path) -> None:
        """Bake the images in *folder*; those that are baked already cost a second."""
        command = [
            sys.executable,
            str(Path(sys.executable).with_name("ansible-playbook")),
            "kiln.immutable.bake",
            "--inventory=localhost,",
            f"--extra-vars=kiln_images={folder}",
        ]
        before = set(docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())
        done = subprocess.run(
            command,
            env={**os.environ, "ANSIBLE_NOCOLOR": "true", "COLUMNS": "1000"},
            cwd=self._checkout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = re.findall(r"(?m)^(\S+) ([0-9.]+)(?:: nothing to do|, baked in)", done.stdout)
        images = {name: f"kiln/{name}:{number}" for name, number in found}
        self._images.update(images)
        self._brought.extend(image for image in images.values() if image not in before)

    def host(self, definition: Definition) -> Host:
        """Return a root of the image that nobody has changed for good."""
        if definition.name not in self._images:
            self.bake(definition.path.parent)
        if definition.name not in self._hosts:
            name = f"kiln-controls-{definition.name}-{uuid.uuid4().hex[:8]}"
            image = self._images[definition.name]
            options = ("--init", "--user", "0", "--shm-size", "1g", "--no-healthcheck")
            docker(
                "run", "--detach", "--name", name, *options, "--entrypoint", "sleep", image, "1h"
            )
            self._hosts[definition.name] = open_host(name)
        return self._hosts[definition.name]

    def discard(self, definition: Definition) -> None:
        """Remove the image's container; the next one is a new one."""
        host = self._hosts.pop(definition.name, None)
        if host is not None:
            host.backend.close()
            docker("rm", "--force", "--volumes", host.backend.get_hostname())

    def remove(self, definitions: tuple[Definition, ...]) -> None:
        """Remove the containers, and the images that the engine did not have before."""
        for definition in definitions:
            self.discard(definition)
        for image in self._brought:
            docker("image", "rm", image)


@pytest.fixture(scope="session")
def roots(checkout: Path, definitions: tuple[Definition, ...]) -> Iterator[Roots]:
    """Return the roots of the images, baked when the first one is asked for."""
    made = Roots(checkout)
    yield made
    made.remove(definitions)
