# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hardened root as a running machine: services start, and applications answer their clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://as_machine"]

KEY = "/root/visit"
SSH = f"ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -i {KEY} visitor@127.0.0.1"
OTHERS = {"bookworm": "trixie", "trixie": "bookworm"}


@pytest.fixture
def address(inspected: Callable[[], dict[str, Any]]) -> str:
    """Return the address that other machines of the network have for this one."""
    (network,) = inspected()["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


@pytest.fixture
def neighbour(container: str) -> str:
    """Return the name of the other machine."""
    scenario, release, booted = container.rsplit("-", 2)
    return f"{scenario}-{OTHERS[release]}-{booted}"


def test_the_first_process_is_systemd(host: Host) -> None:
    assert host.check_output("cat /proc/1/comm") == "systemd"


def test_all_that_is_to_start_does(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""


@pytest.mark.parametrize(
    "unit", ["nginx", "postgresql@*-main", "greeter", "ssh", "nftables", "systemd-journald"]
)
def test_a_service_runs(host: Host, unit: str) -> None:
    states = host.check_output(
        "systemctl show --property=ActiveState --value %s", f"{unit}.service"
    )
    assert states == "active"


@pytest.mark.parametrize("unit", ["nginx", "postgresql@*-main", "ssh"])
def test_it_runs_in_the_sandbox_of_the_roles(host: Host, unit: str) -> None:
    files = host.check_output("systemctl show --property=DropInPaths --value %s", f"{unit}.service")
    assert "50-kiln-sandbox.conf" in files


def test_nginx_answers_curl(host: Host) -> None:
    assert "Welcome to nginx" in host.check_output("curl -fsS http://127.0.0.1/")


def test_postgresql_answers_psql_and_keeps_what_it_is_given(host: Host) -> None:
    psql = "runuser -u postgres -- psql -qtAc"
    host.check_output(f"{psql} 'create table if not exists kept (word text)'")
    host.check_output(f"""{psql} "insert into kept values ('hello')" """)
    host.check_output("systemctl restart 'postgresql@*-main'")
    assert host.check_output(f"{psql} 'select distinct word from kept'") == "hello"


def test_a_service_in_python_answers_curl_and_writes_its_state(host: Host) -> None:
    first = host.check_output("curl -fsS http://127.0.0.1:8000/")
    second = host.check_output("curl -fsS http://127.0.0.1:8000/")
    assert int(second.split()[1]) == int(first.split()[1]) + 1


def test_a_user_logs_in_with_ssh(host: Host) -> None:
    host.check_output(
        f"rm -f {KEY}*; ssh-keygen -q -t ed25519 -N '' -f {KEY}; "
        "install -d -m 0700 -o visitor -g visitor /home/visitor/.ssh; "
        f"install -m 0600 -o visitor -g visitor {KEY}.pub /home/visitor/.ssh/authorized_keys"
    )
    assert host.check_output(f"{SSH} id -un") == "visitor"


def test_the_host_keys_are_this_machine_s_own(host: Host) -> None:
    lines = host.check_output("/usr/sbin/sshd -T").splitlines()
    keys = [line.split()[1] for line in lines if line.startswith("hostkey ")]
    assert keys
    started = int(host.check_output("stat -c %Y /proc/1"))
    made = host.check_output(f"stat -c %Y {' '.join(keys)}").split()
    assert all(int(time) >= started - 1 for time in made)


def test_another_machine_reaches_what_the_definition_opens_and_nothing_else(
    docker: Callable[..., str], neighbour: str, address: str
) -> None:
    fetch = ("curl", "--silent", "--connect-timeout", "2", "--output", "/dev/null")
    code = ("--write-out", "%{http_code}")

    def ask(port: int) -> str:
        url = f"http://{address}:{port}/"
        return docker("exec", neighbour, "sh", "-c", f"{' '.join((*fetch, *code))} {url} || true")

    assert ask(80) == "200"
    assert ask(8000) == "000"


def test_the_journal_has_what_services_say(host: Host) -> None:
    assert "greeter" in host.check_output("journalctl --no-pager --unit greeter")
