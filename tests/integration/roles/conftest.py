# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers to call roles on, and real runs of ansible-playbook that call them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

IMAGE = "kiln-molecule-base:bookworm"

StartContainer = Callable[..., AbstractContextManager[str]]


def docker(*arguments: str) -> str:
    """Run docker and return its output."""
    done = subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="session")
def start_container(checkout: Path) -> StartContainer:
    """Return a starter of containers with Debian and Python, made from nothing when need be.

    It takes options of docker run and gives the container's name.
    """

    @contextlib.contextmanager
    def start(*options: str, image: str = IMAGE) -> Iterator[str]:
        base, _colon, release = image.partition(":")
        if base == IMAGE.partition(":")[0] and not docker("image", "ls", "--quiet", image):
            script = checkout / "molecule" / "shared" / "base_image.sh"
            subprocess.run([str(script), release, image], check=True)
        name = f"kiln-roles-{uuid.uuid4().hex[:8]}"
        docker("run", "--detach", "--init", "--name", name, *options, image, "sleep", "1h")
        try:
            yield name
        finally:
            docker("rm", "--force", "--volumes", name)

    return start


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of ansible-playbook printed, on one line of single spaces, and its exit status."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Playbook:
    """Runs one play in a directory of its own."""

    directory: Path

    def __call__(
        self,
        host: str,
        play: Mapping[str, Any],
        *arguments: str,
        variables: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run *play* on *host*, a container unless *variables* say otherwise."""
        hostvars = {
            "ansible_connection": "community.docker.docker",
            "ansible_python_interpreter": "/usr/bin/python3",
            **(variables or {}),
        }
        hosts = {"all": {"hosts": {host: hostvars}}}
        (self.directory / "inventory.yml").write_text(yaml.safe_dump(hosts))
        plays = [{"hosts": "all", "gather_facts": False, **play}]
        (self.directory / "play.yml").write_text(yaml.safe_dump(plays))
        program = shutil.which("ansible-playbook")
        assert program is not None
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PACKER_", "MOLECULE_"))
        }
        done = subprocess.run(
            [program, "-i", "inventory.yml", "play.yml", *arguments],
            cwd=self.directory,
            env={**inherited, "ANSIBLE_NOCOLOR": "1", **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        return Outcome(done.returncode, " ".join((done.stdout + done.stderr).split()))

    def under_molecule(
        self, host: str, play: Mapping[str, Any], *arguments: str, platform: str = ""
    ) -> Outcome:
        """Run *play* as Molecule does, for a scenario whose platform is *platform*, or *host*."""
        scenario = self.directory / "molecule.yml"
        scenario.write_text(yaml.safe_dump({"platforms": [{"name": platform or host}]}))
        return self(
            host,
            play,
            *arguments,
            variables={"molecule_yml": {}},
            environment={"MOLECULE_FILE": str(scenario)},
        )


@pytest.fixture(scope="session")
def run_plays() -> Callable[[Path], Playbook]:
    """Return what makes a runner of plays in a directory, for fixtures of a module."""
    return Playbook


@pytest.fixture
def playbook(tmp_path: Path) -> Playbook:
    """Return a runner of plays in an empty directory."""
    return Playbook(tmp_path)
