# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""build_guard against real containers and real runs of ansible-playbook: each way in and not in."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

IMAGE = "kiln-molecule-base:bookworm"
SESSION = "c0ffee00c0ffee00c0ffee00"
REFUSAL = "ansible-playbook kiln.immutable.bake -e kiln_images=images/"

ROLE = "kiln.immutable.hardening"
PLAY_WITH_ROLES = {"roles": [ROLE]}


@pytest.fixture(scope="module")
def base_image(checkout: Path) -> str:
    """Return an image with Debian and Python, made when it is not there."""
    found = subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False)
    if found.returncode != 0:
        script = checkout / "molecule" / "shared" / "base_image.sh"
        subprocess.run([str(script), "bookworm", IMAGE], check=True)
    return IMAGE


def _container(image: str, *options: str, session: str = "") -> Iterator[str]:
    name = f"kiln-guard-{uuid.uuid4().hex[:8]}"
    subprocess.run(
        ["docker", "run", "--detach", "--init", "--name", name, *options, image]
        + ["sleep", "infinity"],
        check=True,
        capture_output=True,
    )
    try:
        if session:
            script = f"mkdir -p /run/kiln; echo {session} >/run/kiln/session"
            subprocess.run(["docker", "exec", name, "sh", "-c", script], check=True)
        yield name
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], check=True)


@pytest.fixture(scope="module")
def running(base_image: str) -> Iterator[str]:
    """Return a container that just runs, with a marker forged in its own root."""
    yield from _container(base_image, session=SESSION)


@pytest.fixture(scope="module")
def building(base_image: str) -> Iterator[str]:
    """Return a container as a bake starts it: /run is in memory and holds the session."""
    yield from _container(base_image, "--tmpfs", "/run:exec", session=SESSION)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of ansible-playbook printed, on one line of single spaces, and its exit status."""

    status: int
    text: str

    @property
    def refused(self) -> bool:
        """Whether the guard spoke, and nothing was changed."""
        return self.status != 0 and REFUSAL in self.text and "changed: [" not in self.text


class Playbook:
    """Runs one play in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def __call__(
        self,
        host: str,
        play: dict[str, object],
        *arguments: str,
        variables: dict[str, object] | None = None,
        inventory: str = "inventory.yml",
        environment: dict[str, str] | None = None,
    ) -> Outcome:
        """Run *play* on *host*, a container unless *variables* say otherwise, in check mode."""
        hostvars = {
            "ansible_connection": "community.docker.docker",
            "ansible_python_interpreter": "/usr/bin/python3",
            **(variables or {}),
        }
        hosts = {"all": {"hosts": {host: hostvars}}}
        (self.directory / inventory).write_text(yaml.safe_dump(hosts))
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
            [program, "--check", "-i", inventory, "play.yml", *arguments],
            cwd=self.directory,
            env={**inherited, "ANSIBLE_NOCOLOR": "1", **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Outcome(done.returncode, " ".join((done.stdout + done.stderr).split()))


@pytest.fixture
def playbook(tmp_path: Path) -> Playbook:
    """Return a runner of plays in an empty directory."""
    return Playbook(tmp_path)


BAKE = {"kiln_session": SESSION}
PACKER = ("-e", "packer_build_name=web", "-e", "packer_builder_type=docker")


def test_a_bake_of_ours_passes(playbook: Playbook, building: str) -> None:
    outcome = playbook(building, PLAY_WITH_ROLES, variables=BAKE)
    assert (outcome.status, "failed=0" in outcome.text) == (0, True), outcome.text


def test_packer_passes(playbook: Playbook, running: str) -> None:
    run_id = {"PACKER_RUN_UUID": "3f0c4c0e"}
    outcome = playbook(running, PLAY_WITH_ROLES, *PACKER, environment=run_id)
    assert outcome.status == 0, outcome.text


def test_molecule_passes(playbook: Playbook, running: str, tmp_path: Path) -> None:
    scenario = tmp_path / "molecule.yml"
    scenario.write_text(yaml.safe_dump({"platforms": [{"name": running}]}))
    outcome = playbook(
        running,
        PLAY_WITH_ROLES,
        variables={"molecule_yml": {}},
        environment={"MOLECULE_FILE": str(scenario)},
    )
    assert outcome.status == 0, outcome.text


GUARDED = "kiln.immutable.hardening : Restrict file modes, core dumps and root's terminals"
IMPORTED = {"tasks": [{"name": "Import", "import_role": {"name": ROLE}, "tags": "some"}]}
INCLUDED = {"tasks": [{"name": "Include", "include_role": {"name": ROLE}, "tags": "some"}]}
FROM_FILE = {
    "tasks": [{"name": "Include", "include_role": {"name": ROLE, "tasks_from": "main.yml"}}]
}
IGNORING = {"ignore_errors": True, **PLAY_WITH_ROLES}


@pytest.mark.parametrize(
    ("play", "arguments"),
    [
        pytest.param(PLAY_WITH_ROLES, (), id="roles"),
        pytest.param(PLAY_WITH_ROLES, ("--skip-tags", "always"), id="roles-skip-tags"),
        pytest.param(PLAY_WITH_ROLES, ("--start-at-task", GUARDED), id="roles-start-at-task"),
        pytest.param(IMPORTED, (), id="import"),
        pytest.param(IMPORTED, ("--tags", "some"), id="import-tags"),
        pytest.param(IMPORTED, ("--skip-tags", "always"), id="import-skip-tags"),
        pytest.param(INCLUDED, (), id="include"),
        pytest.param(INCLUDED, ("--skip-tags", "always"), id="include-skip-tags"),
        pytest.param(FROM_FILE, (), id="tasks-from"),
    ],
)
def test_a_running_container_is_refused_whichever_way_a_role_is_called(
    playbook: Playbook, running: str, play: dict[str, object], arguments: tuple[str, ...]
) -> None:
    outcome = playbook(running, play, *arguments)
    assert outcome.refused, outcome.text


@pytest.mark.parametrize("arguments", [(), ("--skip-tags", "always")], ids=["plain", "skip-tags"])
def test_ignored_errors_run_nothing(
    playbook: Playbook, running: str, arguments: tuple[str, ...]
) -> None:
    outcome = playbook(running, IGNORING, *arguments)
    assert REFUSAL in outcome.text
    assert "changed=0" in outcome.text


def test_a_server_is_refused_without_being_contacted(playbook: Playbook) -> None:
    # Nothing answers at an address for documentation (RFC 5737).
    outcome = playbook("192.0.2.1", PLAY_WITH_ROLES, variables={"ansible_connection": "ssh"})
    assert outcome.refused, outcome.text
    assert "unreachable=0" in outcome.text


@pytest.mark.parametrize("arguments", [(), PACKER], ids=["plain", "packer-variables"])
def test_localhost_is_refused(playbook: Playbook, arguments: tuple[str, ...]) -> None:
    local = {"ansible_connection": "local"}
    outcome = playbook("localhost", PLAY_WITH_ROLES, *arguments, variables=local)
    assert outcome.refused, outcome.text


def test_a_marker_forged_in_an_image_is_refused(playbook: Playbook, running: str) -> None:
    outcome = playbook(running, PLAY_WITH_ROLES, variables=BAKE)
    assert outcome.refused, outcome.text
    assert "may come from an image" in outcome.text


def test_the_session_of_another_bake_is_refused(playbook: Playbook, building: str) -> None:
    other = {"kiln_session": SESSION[::-1]}
    outcome = playbook(building, PLAY_WITH_ROLES, variables=other)
    assert outcome.refused, outcome.text


def test_a_session_from_the_command_line_is_refused(playbook: Playbook, building: str) -> None:
    outcome = playbook(building, PLAY_WITH_ROLES, "-e", f"kiln_session={SESSION}")
    assert outcome.refused, outcome.text


def test_packer_variables_without_packer_are_refused(playbook: Playbook, running: str) -> None:
    outcome = playbook(running, PLAY_WITH_ROLES, *PACKER)
    assert outcome.refused, outcome.text


def test_packer_variables_of_the_inventory_are_refused(playbook: Playbook, running: str) -> None:
    outcome = playbook(
        running,
        PLAY_WITH_ROLES,
        variables={"packer_build_name": "web", "packer_builder_type": "docker"},
        environment={"PACKER_RUN_UUID": "3f0c4c0e"},
    )
    assert outcome.refused, outcome.text


def test_a_host_that_is_no_platform_of_the_scenario_is_refused(
    playbook: Playbook, running: str, tmp_path: Path
) -> None:
    scenario = tmp_path / "molecule.yml"
    scenario.write_text(yaml.safe_dump({"platforms": [{"name": "another"}]}))
    outcome = playbook(
        running,
        PLAY_WITH_ROLES,
        variables={"molecule_yml": {}},
        environment={"MOLECULE_FILE": str(scenario)},
    )
    assert outcome.refused, outcome.text
