# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A team's folder of small images and roles, baked by ansible-playbook with the real engine."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kiln.immutable.tests.integration.homes import copy_base, copy_layers

PLAYBOOK = "playbooks/bake.yml"
BASE: dict[str, Any] = {"debootstrap": {"suite": "bookworm", "variant": "minbase"}}
WARM, STOCK = "tests-warm", "tests-stock"
LIMIT = 240.0  # seconds that no run of ansible-playbook here may take
_HOST = re.compile(r"^(?:ok|changed|skipping|failed|fatal|included): (?:\[([^\]]+)\]|.* for (\S+))")


def docker(*arguments: str, check: bool = True) -> str:
    """Run the engine's client and return its output, without the last newline."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"docker {arguments}: {done.stderr}"
    return done.stdout.rstrip("\n")


@dataclass(frozen=True, slots=True)
class Run:
    """How a run of ansible-playbook ended."""

    status: int
    output: str

    @property
    def hosts(self) -> set[str]:
        """The hosts that ran a task."""
        found = (_HOST.match(line) for line in self.output.splitlines())
        return {one[1] or one[2] for one in found if one}

    def changed(self, task: str) -> set[str]:
        """The hosts on which *task* ran and changed something."""
        wanted = False
        found = set()
        for line in self.output.splitlines():
            if line.startswith("TASK ["):
                wanted = line.startswith((f"TASK [{task}]", f"TASK [{task} "))
            elif wanted and (one := re.match(r"changed: \[([^\]]+)\]", line)):
                found.add(one[1])
        return found

    @property
    def layers_run(self) -> list[str]:
        """The layers that were run and captured, in their order."""
        return re.findall(r"^TASK \[Capture the layer (.*?)\]", self.output, flags=re.MULTILINE)


@dataclass
class Team:
    """A checkout of a team: images and roles, and where its bakes keep things."""

    checkout: Path
    folder: Path
    home: Path
    names: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "ansible.cfg").write_text("[defaults]\nlocalhost_warning = false\n")

    @property
    def images(self) -> Path:
        return self.folder / "images"

    def name(self, stem: str = "web") -> str:
        """Return an image name that nobody else uses; what it makes in the engine is removed."""
        self.names.append(f"{stem}-{uuid.uuid4().hex[:8]}")
        return self.names[-1]

    def role(self, name: str, tasks: str, **files: str) -> str:
        """Write a role and return how a definition names it."""
        top = self.folder / "roles" / name
        for path, content in {"tasks/main.yml": tasks, **files}.items():
            target = top / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        return f"../roles/{name}"

    def file_role(self, name: str = "app", default: str = "one") -> str:
        """Write a role that copies the value of the variable NAME_text to /srv/NAME."""
        return self.role(
            name,
            f"- name: Write the file of {name}\n  ansible.builtin.copy:\n"
            f"    content: '{{{{ {name}_text }}}}'\n    dest: /srv/{name}\n    mode: '0644'\n",
            **{"defaults/main.yml": f"{name}_text: {default}\n"},
        )

    def image(self, name: str, *layers: Mapping[str, Any] | str, **fields: Any) -> Path:
        """Write a definition and return its path."""
        document = {
            "base": BASE,
            "layers": [{"role": one} if isinstance(one, str) else dict(one) for one in layers],
            **fields,
        }
        self.images.mkdir(exist_ok=True)
        path = self.images / f"{name}.yml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def command(self, *arguments: str, images: str | None = "images") -> list[str]:
        """Return the command line of a bake."""
        program = Path(sys.executable).with_name("ansible-playbook")
        argv = [sys.executable, str(program), str(self.checkout / PLAYBOOK), *arguments]
        return [*argv, "-e", f"kiln_images={self.folder / images}"] if images else argv

    def variables(self) -> dict[str, str]:
        """Return the environment that a bake runs in."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        return {
            **inherited,
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.checkout / ".collections"),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_NOCOLOR": "true",
            "COLUMNS": "1000",
            "KILN_HOME": str(self.home),
            **self.environment,
        }

    def bake(
        self, *arguments: str, images: str | None = "images", ends: int | None = 0, **more: str
    ) -> Run:
        """Bake and return how it ended; *ends* is the exit status that is expected."""
        return self._run(self.command(*arguments, images=images), ends, more)

    def refresh(self, *arguments: str, ends: int = 0, **more: str) -> Run:
        """Refresh the locks and return how it ended."""
        playbooks = {str(self.checkout / PLAYBOOK): str(self.checkout / "playbooks/refresh.yml")}
        argv = [playbooks.get(word, word) for word in self.command(*arguments)]
        return self._run(argv, ends, more)

    def _run(self, argv: list[str], ends: int | None, more: Mapping[str, str]) -> Run:
        done = subprocess.run(
            argv,
            env={**self.variables(), **more},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert ends is None or done.returncode == ends, done.stdout
        return Run(done.returncode, done.stdout)

    def play(self, playbook: str, *arguments: str, ends: int = 0) -> Run:
        """Run another of our playbooks on this team's home."""
        program = Path(sys.executable).with_name("ansible-playbook")
        done = subprocess.run(
            [sys.executable, str(program), str(self.checkout / playbook), *arguments],
            env=self.variables(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == ends, done.stdout
        return Run(done.returncode, done.stdout)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a bake in the background; its output goes to the file output in the folder."""
        with (self.folder / "output").open("wb") as output:
            return subprocess.Popen(
                self.command(*arguments),
                env=self.variables(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def version(self, name: str, number: str = "1.0.1") -> dict[str, Any]:
        """Return what the catalog says of a version."""
        path = self.home / "catalog" / "images" / name / "versions" / f"{number}.yml"
        found: dict[str, Any] = yaml.safe_load(path.read_text())
        return found

    def numbers(self, name: str) -> list[str]:
        """Return the numbers of the versions of an image."""
        folder = self.home / "catalog" / "images" / name / "versions"
        return sorted(path.stem for path in folder.glob("*.yml"))

    def inspect(self, name: str, number: str = "1.0.1") -> dict[str, Any]:
        """Return what the engine says of an image."""
        (found,) = json.loads(docker("image", "inspect", f"kiln/{name}:{number}"))
        assert isinstance(found, dict)
        return found

    def cat(self, name: str, path: str, number: str = "1.0.1") -> str:
        """Return a file of an image."""
        return docker("run", "--rm", "--entrypoint", "cat", f"kiln/{name}:{number}", path)

    def containers(self) -> list[str]:
        """Return the containers of this team's bakes, running or not."""
        return [
            line
            for line in docker("ps", "--all", "--format", "{{.Names}}").splitlines()
            if any(name in line for name in self.names)
        ]

    def sessions(self) -> list[Path]:
        """Return the folders of bakes that go on, or kept something."""
        return sorted((self.home / "sessions").glob("*"))


@pytest.fixture(name="docker")
def docker_fixture() -> Callable[..., str]:
    """Give the engine's client."""
    return docker


@pytest.fixture
def until() -> Callable[[str, Callable[[], object]], None]:
    """Give the function that waits for something to be so, for at most half a minute."""

    def wait(what: str, probe: Callable[[], object], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not probe():
            assert time.monotonic() < deadline, f"waited for {what} in vain"
            time.sleep(0.05)

    return wait


def remove(names: list[str]) -> None:
    """Take everything of the images *names* out of the engine."""
    for name in names:
        found = docker("ps", "--all", "--quiet", "--filter", f"name={name}").split()
        for reference in (f"kiln/{name}", f"kiln-chain:{name}-*"):
            listing = ["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
            images = docker(*listing, "--filter", f"reference={reference}").split()
            if found:
                docker("rm", "--force", "--volumes", *found, check=False)
            if images:
                docker("image", "rm", "--force", *images, check=False)


@pytest.fixture(scope="session")
def stocked(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Return a team with images on the tests' base, in the checks' own home if they have one.

    While these are in the engine too, each test's build container finds the base's layer there.
    """
    folder = tmp_path_factory.mktemp("stocked")
    shared = os.environ.get("KILN_HOME")
    home = Path(shared) if shared else folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    mark = "" if shared else f"-{uuid.uuid4().hex[:8]}"
    team = Team(checkout, folder, home, [f"{WARM}{mark}", f"{STOCK}{mark}"])
    for name, role in zip(team.names, ("warm", "app"), strict=True):
        team.image(name, team.file_role(role))
    with (home / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
        if not all(f"kiln/{one}:1.0.1" in there and team.numbers(one) for one in team.names):
            team.bake()
    yield team
    if not shared:
        remove(team.names)


@pytest.fixture(scope="session")
def warm(stocked: Team, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home that has the base, so that each test need not bootstrap one."""
    home = tmp_path_factory.mktemp("warm")
    copy_base(stocked.home, home, stocked.names[0])
    return home


@pytest.fixture
def home(warm: Path, tmp_path: Path) -> Path:
    """Return a home of the test's own, in which there is only the base."""
    return lay_out(warm, tmp_path / "home")


@pytest.fixture
def second_home(warm: Path, tmp_path: Path) -> Path:
    """Return another one."""
    return lay_out(warm, tmp_path / "second-home")


def lay_out(warm: Path, home: Path) -> Path:
    """Copy what a base consists of; blobs are never changed, so a hard link will do."""
    (home / "store").mkdir(parents=True)
    (home / "cache").mkdir()
    for part in ("bases", "toolkits"):
        shutil.copytree(warm / "cache" / part, home / "cache" / part)
    layers = [
        layer["descriptor"]["digest"].partition(":")[2]
        for record in (home / "cache" / "bases").glob("*.json")
        for layer in json.loads(record.read_bytes())["layers"]
    ]
    blobs = home / "store" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for layer in layers:
        (blobs / layer).hardlink_to(warm / "store" / "blobs" / "sha256" / layer)
    # What was found out of the base's files, and of Debian's security archive: each bake would
    # read the whole base and fetch the index once more.
    for part in ("store/listings", "cache/security"):
        if (warm / part).is_dir():
            shutil.copytree(warm / part, home / part)
    return home


@pytest.fixture
def team(checkout: Path, home: Path, tmp_path: Path) -> Iterator[Team]:
    """Return a team without any image yet; what it bakes leaves the engine with it."""
    made = Team(checkout, tmp_path / "team", home, [])
    yield made
    remove(made.names)


@pytest.fixture
def plain_role_ran(team: Team, stocked: Team) -> None:
    """Have the plain role run for another image before, so that the team's bakes find its layer."""
    copy_layers(stocked.home, team.home, stocked.names[1])
