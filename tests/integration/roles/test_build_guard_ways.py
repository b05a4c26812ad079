# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""build_guard on what its ways in and its strangers really are: sshd, chroot, an image of ours.

The guard alone is called, with a task after it: whether that one ran says what it decided.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REFUSAL = "ansible-playbook kiln.immutable.bake -e kiln_images=images/"
PASSED = "the guard let it pass"
PLAY = {
    "roles": ["kiln.immutable.build_guard"],
    "tasks": [{"name": "Say so", "ansible.builtin.debug": {"msg": PASSED}}],
}
RUN_ID = {"PACKER_RUN_UUID": "3f0c4c0e"}
SESSION = "c0ffee00c0ffee00c0ffee00"


def packer(builder: str) -> tuple[str, ...]:
    """Return how Packer's provisioners name the build on ansible-playbook's command line."""
    return ("-e", f"packer_build_name=web packer_builder_type={builder}")


def passed(outcome: Any) -> bool:
    return outcome.status == 0 and PASSED in outcome.text


def refused(outcome: Any) -> bool:
    return outcome.status != 0 and REFUSAL in outcome.text and PASSED not in outcome.text


def execute(container: str, script: str) -> str:
    """Run *script* in *container* to a good end and return its output."""
    command = ["docker", "exec", container, "sh", "-ec", script]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True, slots=True)
class Server:
    """A machine with a running sshd."""

    container: str
    variables: dict[str, Any]

    @property
    def visitors(self) -> int:
        """How many connections it has had."""
        return execute(self.container, "cat /var/log/visitors").count("Connection from")


@pytest.fixture(scope="module")
def server(start_container: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that is reached over SSH."""
    key = tmp_path_factory.mktemp("ssh") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text().strip()
    with start_container() as name:
        execute(
            name,
            "apt-get update -qq; apt-get install -qq --no-install-recommends openssh-server "
            f">/dev/null 2>&1; mkdir -p /run/sshd /root/.ssh; echo '{public}' "
            ">/root/.ssh/authorized_keys; /usr/sbin/sshd -o LogLevel=VERBOSE -E /var/log/visitors",
        )
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        command = ["docker", "inspect", "--format", form, name]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        yield Server(
            name,
            {
                "ansible_connection": "ssh",
                "ansible_host": found.stdout.strip(),
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(key),
                # No connection is left open, so that each new one is seen.
                "ansible_ssh_args": "-F none -o StrictHostKeyChecking=no "
                "-o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes",
            },
        )


@pytest.mark.parametrize("builder", ["qemu", "amazon-ebs"])
def test_a_machine_that_packer_builds_passes_over_ssh(
    playbook: Any, server: Server, builder: str
) -> None:
    outcome = playbook(
        "default", PLAY, *packer(builder), variables=server.variables, environment=RUN_ID
    )
    assert passed(outcome), outcome.text


@pytest.mark.parametrize("arguments", [(), packer("qemu")], ids=["plain", "packer-variables"])
def test_a_running_server_is_refused_and_not_even_contacted(
    playbook: Any, server: Server, arguments: tuple[str, ...]
) -> None:
    before = server.visitors
    outcome = playbook("db1", PLAY, *arguments, variables=server.variables)
    assert refused(outcome), outcome.text
    assert server.visitors == before


def test_a_running_server_with_a_session_of_no_bake_is_refused(
    playbook: Any, server: Server
) -> None:
    execute(server.container, f"mkdir -p /run/kiln; echo {SESSION} >/run/kiln/session")
    before = server.visitors
    outcome = playbook(
        "db1", PLAY, variables={**server.variables, "kiln_session": SESSION}, environment=RUN_ID
    )
    assert refused(outcome), outcome.text
    assert "may come from an image" in outcome.text
    assert server.visitors > before


def test_ansible_local_passes_in_its_staging_directory(playbook: Any, tmp_path: Path) -> None:
    staging = tmp_path / "packer-provisioner-ansible-local" / "5f2b"
    staging.mkdir(parents=True)
    runner = type(playbook)(staging)
    outcome = runner("web", PLAY, *packer("qemu"), variables={"ansible_connection": "local"})
    assert passed(outcome), outcome.text


@pytest.fixture
def chroot_connection(playbook: Any) -> None:
    """Have plays know the connection."""
    here = Path(__file__).parent
    shutil.copytree(here / "connection_plugins", playbook.directory / "connection_plugins")


@pytest.fixture
def root(start_container: Any, tmp_path: Path) -> Iterator[Path]:
    """Return a directory that can be the root of a shell."""
    root = tmp_path / "root"
    root.mkdir()
    with start_container() as name:
        command = (
            f"docker export {name} | tar -x -C {root} --no-same-owner "
            "bin lib lib64 usr/bin usr/lib64 usr/lib/x86_64-linux-gnu"
        )
        subprocess.run(["sh", "-c", command], check=True)
    (root / "dev").mkdir()
    (root / "dev" / "null").touch()  # a node takes privileges, and nothing is written to it
    yield root
    shutil.rmtree(root)


@pytest.mark.usefixtures("chroot_connection")
def test_a_chroot_passes(playbook: Any, root: Path) -> None:
    variables = {"ansible_connection": "chroot", "ansible_host": str(root)}
    outcome = playbook("root", PLAY, variables=variables)
    assert passed(outcome), outcome.text


@pytest.mark.usefixtures("chroot_connection")
def test_a_chroot_into_the_controller_s_own_root_is_refused(playbook: Any) -> None:
    variables = {"ansible_connection": "chroot", "ansible_host": "/"}
    outcome = playbook("root", PLAY, variables=variables)
    assert refused(outcome), outcome.text
    assert "it is the controller itself" in outcome.text


@pytest.fixture(scope="module")
def forged(start_container: Any) -> Iterator[str]:
    """Return an image that has the marker of a bake in it."""
    image = "kiln-roles-forged:1"
    with start_container() as name:
        execute(name, f"mkdir -p /run/kiln; echo {SESSION} >/run/kiln/session")
        subprocess.run(["docker", "commit", name, image], check=True, capture_output=True)
    yield image
    subprocess.run(["docker", "image", "rm", image], check=True, capture_output=True)


PRODUCTION = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


@pytest.mark.parametrize(
    "options",
    [PRODUCTION, (*PRODUCTION, "--tmpfs", "/run/nginx"), (*PRODUCTION, "--tmpfs", "/run")],
    ids=["as-it-is", "with-state", "with-run-in-memory"],
)
def test_a_container_in_production_is_refused_whatever_marker_its_image_has(
    playbook: Any, start_container: Any, forged: str, options: tuple[str, ...]
) -> None:
    with start_container(*options, image=forged) as name:
        outcome = playbook(name, PLAY, variables={"kiln_session": SESSION})
    assert refused(outcome), outcome.text
