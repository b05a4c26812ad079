# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""build_guard against real containers and real runs of ansible-playbook: each way in and not in.

Everything runs in check mode: were the guard to let a host pass, "changed" would say so.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

SESSION = "c0ffee00c0ffee00c0ffee00"
REFUSAL = "ansible-playbook kiln.immutable.bake -e kiln_images=images/"

ROLE = "kiln.immutable.hardening"
# In check mode apt fetches no lists, and these roots have none: no packages are asked for.
PLAY_WITH_ROLES = {"roles": [ROLE], "vars": {"hardening_accounts_pam": False}}
# Where the role goes on, one of its parts says as much.
PLAY_WITH_PART = {**PLAY_WITH_ROLES, "roles": [f"{ROLE}_accounts"]}


def passed(outcome: Any) -> bool:
    """Return whether the guard let the role go on."""
    return outcome.status == 0 and "failed=0" in outcome.text and "changed: [" in outcome.text


def refused(outcome: Any) -> bool:
    """Return whether the guard spoke, and nothing was changed."""
    return outcome.status != 0 and REFUSAL in outcome.text and "changed: [" not in outcome.text


def write_session(container: str) -> str:
    """Write the session's file into *container*, and return the container's name."""
    script = f"mkdir -p /run/kiln; echo {SESSION} >/run/kiln/session"
    subprocess.run(["docker", "exec", container, "sh", "-c", script], check=True)
    return container


@pytest.fixture(scope="module")
def running(start_container: Any) -> Iterator[str]:
    """Return a container that just runs, with a marker forged in its own root."""
    with start_container() as name:
        yield write_session(name)


@pytest.fixture(scope="module")
def building(start_container: Any) -> Iterator[str]:
    """Return a container as a bake starts it: /run is in memory and holds the session."""
    with start_container("--tmpfs", "/run:exec") as name:
        yield write_session(name)


BAKE = {"kiln_session": SESSION}
PACKER = ("-e", "packer_build_name=web", "-e", "packer_builder_type=docker")


def test_a_bake_of_ours_passes(playbook: Any, building: str) -> None:
    outcome = playbook(building, PLAY_WITH_PART, "--check", variables=BAKE)
    assert passed(outcome), outcome.text


def test_the_proof_of_one_host_never_counts_for_others(playbook: Any, building: str) -> None:
    once = {**PLAY_WITH_ROLES, "roles": [{"role": ROLE, "run_once": True}]}
    outcome = playbook(building, once, "--check", variables=BAKE)
    assert (outcome.status != 0, "changed=0" in outcome.text) == (True, True), outcome.text
    assert "run_once would let the proof of one host count for all hosts" in outcome.text


def test_packer_passes(playbook: Any, running: str) -> None:
    run_id = {"PACKER_RUN_UUID": "3f0c4c0e"}
    outcome = playbook(running, PLAY_WITH_PART, "--check", *PACKER, environment=run_id)
    assert passed(outcome), outcome.text


def test_molecule_passes(playbook: Any, running: str) -> None:
    outcome = playbook.under_molecule(running, PLAY_WITH_PART, "--check")
    assert passed(outcome), outcome.text


GUARDED = "Restrict accounts"
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
    playbook: Any, running: str, play: dict[str, object], arguments: tuple[str, ...]
) -> None:
    outcome = playbook(running, play, "--check", *arguments)
    assert refused(outcome), outcome.text


@pytest.mark.parametrize("arguments", [(), ("--skip-tags", "always")], ids=["plain", "skip-tags"])
def test_ignored_errors_run_nothing(
    playbook: Any, running: str, arguments: tuple[str, ...]
) -> None:
    outcome = playbook(running, IGNORING, "--check", *arguments)
    assert REFUSAL in outcome.text
    assert "changed=0" in outcome.text


def test_a_server_is_refused_without_being_contacted(playbook: Any) -> None:
    # Nothing answers at an address for documentation (RFC 5737).
    outcome = playbook(
        "192.0.2.1", PLAY_WITH_ROLES, "--check", variables={"ansible_connection": "ssh"}
    )
    assert refused(outcome), outcome.text
    assert "unreachable=0" in outcome.text


@pytest.mark.parametrize("arguments", [(), PACKER], ids=["plain", "packer-variables"])
def test_localhost_is_refused(playbook: Any, arguments: tuple[str, ...]) -> None:
    local = {"ansible_connection": "local"}
    outcome = playbook("localhost", PLAY_WITH_ROLES, "--check", *arguments, variables=local)
    assert refused(outcome), outcome.text


def test_a_marker_forged_in_an_image_is_refused(playbook: Any, running: str) -> None:
    outcome = playbook(running, PLAY_WITH_ROLES, "--check", variables=BAKE)
    assert refused(outcome), outcome.text
    assert "may come from an image" in outcome.text


def test_the_session_of_another_bake_is_refused(playbook: Any, building: str) -> None:
    other = {"kiln_session": SESSION[::-1]}
    outcome = playbook(building, PLAY_WITH_ROLES, "--check", variables=other)
    assert refused(outcome), outcome.text


def test_a_session_from_the_command_line_is_refused(playbook: Any, building: str) -> None:
    outcome = playbook(building, PLAY_WITH_ROLES, "--check", "-e", f"kiln_session={SESSION}")
    assert refused(outcome), outcome.text


def test_packer_variables_without_packer_are_refused(playbook: Any, running: str) -> None:
    outcome = playbook(running, PLAY_WITH_ROLES, "--check", *PACKER)
    assert refused(outcome), outcome.text


def test_packer_variables_of_the_inventory_are_refused(playbook: Any, running: str) -> None:
    outcome = playbook(
        running,
        PLAY_WITH_ROLES,
        "--check",
        variables={"packer_build_name": "web", "packer_builder_type": "docker"},
        environment={"PACKER_RUN_UUID": "3f0c4c0e"},
    )
    assert refused(outcome), outcome.text


def test_a_host_that_is_no_platform_of_the_scenario_is_refused(playbook: Any, running: str) -> None:
    outcome = playbook.under_molecule(running, PLAY_WITH_ROLES, "--check", platform="another")
    assert refused(outcome), outcome.text
