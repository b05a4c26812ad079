# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine that goes away in the middle of a bake, and comes back."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Docker = Callable[..., str]
Until = Callable[..., None]

WAIT = "- name: Wait for the tide\n  ansible.builtin.command: sleep 300\n  changed_when: true\n"


class OwnEngine:
    """A second engine with storage of its own and without any network."""

    def __init__(self, top: Path, until: Until) -> None:
        self.top = top
        self.address = f"unix://{top}/docker.sock"
        self._until = until
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {
            "host": self.address,
            "data-root": self.top / "data",
            "exec-root": self.top / "exec",
            "pidfile": self.top / "pid",
            "bridge": "none",
            "iptables": "false",
            "ip-masq": "false",
        }
        with (self.top / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # In a network of its own: an engine without a bridge takes docker0 away,
                # which is another engine's.
                [
                    *("unshare", "--net", "dockerd"),
                    *(f"--{name}={value}" for name, value in options.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        engine = self._process
        self._until("the engine", lambda: self.answers() or engine.poll() is not None, 60)
        assert self.answers(), (self.top / "log").read_text()

    def answers(self) -> bool:
        return self.docker("version", check=False).returncode == 0

    def docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        argv = ["docker", "--host", self.address, *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=check)

    def runs(self, command: str) -> bool:
        """Whether *command* runs in one of its containers."""
        names = self.docker("ps", "--quiet").stdout.split()
        return any(command in self.docker("top", name, check=False).stdout for name in names)

    def kill(self) -> None:
        """Kill it as a machine that crashes would; what it started goes on.

        All but containerd, which the kernel kills then. Until somebody reaps that, the next engine
        would take its number for a process that runs, and wait in vain.
        """
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        for name in ("pid", "exec/containerd/containerd.pid"):
            (self.top / name).unlink(missing_ok=True)

    def end(self) -> None:
        """Remove its containers and let it end what it started."""
        try:
            if self._process is None or self._process.poll() is not None:
                self.start()
            for name in self.docker("ps", "--all", "--quiet").stdout.split():
                self.docker("rm", "--force", name, check=False)
        finally:
            if self._process is not None:
                self._process.terminate()
                self._process.wait(60)
            # The engine mounts its storage on itself; one that was killed leaves that so.
            subprocess.run(["umount", "--recursive", self.top / "data"], check=False)


@pytest.fixture
def toolkit(team: Any, warm: Path, docker: Docker) -> str:
    """Return the volume of the first engine that has the toolkit of the tests' base."""
    (note,) = (warm / "cache" / "toolkits").iterdir()
    if note.name not in docker("volume", "ls", "--quiet").split():
        # Somebody tidied the engine up since the base was made: any bake brings it back.
        definition = team.image(team.name("tools"), team.role("tools", WAIT.replace("300", "0")))
        team.bake()
        definition.unlink()
    return note.name


@pytest.fixture
def engine(until: Until, toolkit: str, docker: Docker) -> Iterator[OwnEngine]:
    """Start an engine that has the toolkit of the first one: without network it can make none."""
    top = Path(tempfile.mkdtemp(prefix="kiln-", dir="/tmp"))  # a socket's path must be short
    own = OwnEngine(top, until)
    try:
        own.start()
        own.docker("volume", "create", toolkit)
        source = docker("volume", "inspect", "--format", "{{.Mountpoint}}", toolkit)
        target = own.docker("volume", "inspect", "--format", "{{.Mountpoint}}", toolkit)
        subprocess.run(["cp", "-a", f"{source}/.", target.stdout.strip()], check=True)
        yield own
    finally:
        own.end()
        shutil.rmtree(top)


def test_an_engine_that_goes_away_ends_the_bake_and_the_next_goes_on(
    team: Any, engine: OwnEngine, until: Until
) -> None:
    name, child = team.name(), team.name("child")
    team.image(name, team.file_role(), team.role("tide", WAIT))
    team.image(child, base={"image": name})
    team.environment["DOCKER_HOST"] = engine.address
    output = team.folder / "output"
    with team.start() as process:
        until(
            "the role",
            lambda: engine.runs("sleep 300") or process.poll() is not None,
            120,
        )
        assert process.poll() is None, output.read_text()
        engine.kill()
        assert process.wait(120) != 0
    said = output.read_text()
    assert f"{name} was not baked." in said
    assert f"{child} was not baked." in said
    assert "Traceback" not in said
    without = team.bake(ends=2)
    assert "No Docker Engine answers at DOCKER_HOST" in without.output
    engine.start()
    team.role("tide", WAIT.replace("300", "0"))
    assert team.bake().layers_run == ["tide", "seal", "seal"]
    assert engine.docker("ps", "--all", "--quiet").stdout == ""
    until("the session to go", lambda: team.sessions() == [])
