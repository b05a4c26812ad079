# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""hardening_ssh by what a real sshd and a real ssh offer, as ssh-audit judges them."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROLE = "kiln.immutable.hardening_ssh"
PACKAGES = ["openssh-server", "openssh-client"]
HARDEN = {
    "tasks": [
        {"name": "Fetch package lists", "ansible.builtin.apt": {"update_cache": True}},
        {
            "name": "Harden",
            "ansible.builtin.include_role": {"name": ROLE},
            "vars": {"hardening_ssh_packages": PACKAGES},
        },
    ]
}
# Only what the role itself does: package lists are the world's.
AGAIN = {"roles": [{"role": ROLE, "hardening_ssh_packages": PACKAGES}]}

PEOPLE = """
set -e
rm -f /etc/ssh/ssh_host_*
useradd --create-home --shell /bin/sh ada
echo ada:longish-password | chpasswd
for home in /home/ada /root; do
    mkdir -p -m 0700 $home/.ssh
done
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
ssh-keygen -q -t rsa -b 2048 -N '' -f /root/.ssh/id_short
cat /root/.ssh/*.pub | tee /root/.ssh/authorized_keys >/home/ada/.ssh/authorized_keys
chown -R ada: /home/ada/.ssh
"""
SSH = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o IdentitiesOnly=yes"

Playbook = Any


@dataclass(frozen=True, slots=True)
class Server:
    """A container whose sshd answers at a port of this machine."""

    name: str
    port: int
    gateway: str

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run *script* as root in the container."""
        argv = ["docker", "exec", self.name, "sh", "-c", script]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def inspect(name: str, what: str) -> str:
    """Return what the engine says of the container *name*."""
    argv = ["docker", "inspect", "--format", what, name]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def server(
    request: pytest.FixtureRequest, start_container: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Return a hardened container of each release, whose sshd was started as in production."""
    runner = request.getfixturevalue("run_plays")(tmp_path_factory.mktemp("ssh"))
    image = f"kiln-molecule-base:{request.param}"
    with start_container("--publish", "127.0.0.1::22", image=image) as name:
        outcome = runner.under_molecule(name, HARDEN)
        assert outcome.status == 0, outcome.text
        port = inspect(name, '{{(index (index .NetworkSettings.Ports "22/tcp") 0).HostPort}}')
        gateway = inspect(name, "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}")
        found = Server(name, int(port), gateway)
        assert found.run(PEOPLE).returncode == 0
        subprocess.run(["docker", "exec", "--detach", name, "/usr/local/lib/kiln/sshd"], check=True)
        answers = "for i in $(seq 100); do ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null | grep . "
        assert found.run(f"{answers}&& exit 0; sleep 0.1; done; exit 1").returncode == 0
        yield found


def ssh_audit(*arguments: str) -> list[str]:
    """Return the command line of ssh-audit, which ends with 0 when it has no complaint."""
    program = Path(sys.executable).with_name("ssh-audit")
    return [sys.executable, str(program), "--no-colors", *arguments]


def test_ssh_audit_has_no_complaint_about_the_server(server: Server) -> None:
    argv = ssh_audit("--skip-rate-test", "--port", str(server.port), "127.0.0.1")
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(kex) sntrup761x25519-sha512@openssh.com" in done.stdout
    assert not {"[warn]", "[fail]"} & set(done.stdout.split())


def test_ssh_audit_has_no_complaint_about_the_client(server: Server) -> None:
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    argv = ssh_audit("--client-audit", "--port", str(port), "--timeout", "30")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as audit:
        # It is asked for as soon as it listens.
        connect = f"{SSH} -p {port} ada@{server.gateway} true"
        server.run(f"for i in $(seq 60); do {connect} 2>&1 | grep -q refused || break; done")
        output, _errors = audit.communicate(timeout=60)
    assert audit.returncode == 0, output
    assert "(kex) sntrup761x25519-sha512@openssh.com" in output
    assert not {"[warn]", "[fail]"} & set(output.split())


def test_a_user_logs_in_with_a_key(server: Server) -> None:
    done = server.run(f"{SSH} -i /root/.ssh/id_ed25519 ada@127.0.0.1 id -un")
    assert done.stdout.strip() == "ada", done.stderr
    assert "Authorized users only." in done.stderr


@pytest.mark.parametrize(
    ("options", "user"),
    [
        pytest.param("-i /root/.ssh/id_ed25519", "root", id="root"),
        pytest.param("-i /root/.ssh/id_short -o RequiredRSASize=1024", "ada", id="short-key"),
        pytest.param("-o PreferredAuthentications=password", "ada", id="password"),
    ],
)
def test_nobody_else_is_let_in(server: Server, options: str, user: str) -> None:
    done = server.run(f"{SSH} {options} {user}@127.0.0.1 true")
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr


@pytest.mark.parametrize(
    "option", ["KexAlgorithms=curve25519-sha256", "Ciphers=aes128-ctr", "MACs=hmac-sha2-256"]
)
def test_a_client_that_wants_something_weaker_is_refused(server: Server, option: str) -> None:
    done = server.run(f"{SSH} -o {option} -i /root/.ssh/id_ed25519 ada@127.0.0.1 true")
    # A MAC has no part in a cipher that authenticates by itself.
    if option.startswith("MACs"):
        done = server.run(f"{SSH} -o {option} -o Ciphers=aes256-ctr ada@127.0.0.1 true")
    assert "no matching" in done.stderr


def test_the_keys_of_an_instance_stay(server: Server) -> None:
    files = "sha256sum /var/lib/ssh/*"
    before = server.run(files).stdout
    assert "ssh_host_ed25519_key.pub" in before
    assert server.run("/usr/local/lib/kiln/ssh-host-keys").returncode == 0
    assert server.run(files).stdout == before
    assert server.run("ls /etc/ssh/ssh_host_*").returncode != 0


def test_a_second_run_changes_nothing(server: Server, playbook: Playbook) -> None:
    outcome = playbook.under_molecule(server.name, AGAIN)
    assert (outcome.status, "changed=0" in outcome.text) == (0, True), outcome.text
