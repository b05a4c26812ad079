# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program in a real build container, against what the engine itself says."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.bootstrapping import (
    run_bootstrap,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import CAPTURE_SOURCE

EPOCH = 1_700_000_000
STATE = "/run/kiln-test-snapshot"
MOUNTED = ("/run", "/tmp", "/var/cache/apt/archives")


@pytest.fixture(scope="module")
def base_image() -> Iterator[str]:
    """Bootstrap a Debian with Python into the engine."""
    name = "kiln-test-container-base"
    strap = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=python3", "bookworm", "-"]
    with tempfile.TemporaryFile() as tar, tempfile.TemporaryFile() as log:
        assert run_bootstrap(strap, tar, log) == 0
        tar.seek(0)
        subprocess.run(["docker", "import", "-", name], stdin=tar, check=True)
    yield name
    subprocess.run(["docker", "rmi", "-f", name], capture_output=True, check=False)


class Container:
    """A build container: /run and /tmp are tmpfs, a volume is mounted below the root."""

    def __init__(self, name: str, image: str) -> None:
        self.name = name
        mounts = ["--tmpfs=/run:exec", "--tmpfs=/tmp:exec", f"--volume={name}:{MOUNTED[2]}"]
        argv = ["docker", "run", "--detach", f"--name={name}", *mounts, image, "sleep", "infinity"]
        subprocess.run(argv, check=True, capture_output=True)

    def run(self, *argv: str) -> bytes:
        """Run a program in the container."""
        return subprocess.run(
            ["docker", "exec", self.name, *argv], check=True, stdout=subprocess.PIPE
        ).stdout

    def program(self, command: str, *arguments: str) -> bytes:
        place = ["--root=/", f"--state={STATE}"]
        return self.run("python3", "-I", "-c", CAPTURE_SOURCE, command, *place, *arguments)

    def capture(self) -> list[tarfile.TarInfo]:
        content = self.program("capture", f"--epoch={EPOCH}")
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            return archive.getmembers()

    def differences(self) -> dict[str, str]:
        """Return what the engine says was changed, by path, without what is mounted."""
        lines = subprocess.run(
            ["docker", "diff", self.name], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.splitlines()
        found = {line[2:]: line[0] for line in lines}
        below = re.compile("|".join(f"{path}(/.*)?" for path in MOUNTED))
        return {path: kind for path, kind in found.items() if not below.fullmatch(path)}


@pytest.fixture
def container(base_image: str, engine_names: Callable[[], str]) -> Container:
    made = Container(engine_names(), base_image)
    made.program("snapshot")
    return made


def test_a_container_that_was_not_changed_has_nothing_to_capture(container: Container) -> None:
    container.run("find", "/", "-xdev", "-type", "f", "-exec", "cat", "{}", "+")
    container.run("touch", "/tmp/x", "/run/y", "/var/cache/apt/archives/z")
    assert container.capture() == []


def test_a_change_of_mode_alone_is_captured(container: Container) -> None:
    container.run("chmod", "600", "/etc/debian_version")
    etc, found = container.capture()
    assert (etc.name, found.name) == ("etc", "etc/debian_version")
    assert found.mode == 0o600
    assert container.capture() == []


def test_the_engine_agrees_on_what_a_package_changed(container: Container, base_image: str) -> None:
    container.run("apt-get", "-qq", "update")
    container.run("apt-get", "-qq", "install", "--no-install-recommends", "hello")
    container.run("rm", "-r", "/usr/share/doc/tzdata", "/etc/issue")
    members = container.capture()
    assert any(member.name == "usr/bin/hello" for member in members)
    written = {"/" + member.name for member in members if "/.wh." not in member.name}
    gone = {"/" + member.name.replace(".wh.", "") for member in members} - written
    told = container.differences()
    assert gone == {path for path, kind in told.items() if kind == "D"}
    assert written >= {path for path, kind in told.items() if kind != "D"}
    # The engine compares size and time; the program also sees what was opened for writing, such
    # as a lock, since a file can be replaced by one of equal size and time.
    others = {f"/{member.name}" for member in members if member.isfile()} & written - told.keys()
    files = sorted(others)
    run = ["docker", "run", "--rm", base_image, "sha256sum", *files]
    before = subprocess.run(run, check=True, stdout=subprocess.PIPE).stdout
    assert container.run("sha256sum", *files) == before
