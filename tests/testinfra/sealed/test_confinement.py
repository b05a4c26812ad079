# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container started as its bake says may do: run its service, and write its state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    Definition,
)
from testinfra.host import Host

testinfra_hosts = ["ansible://as_service"]


def status(host: Host, name: str) -> str:
    """Return the field *name* of the first process's status."""
    line: str = host.check_output(f"grep ^{name}: /proc/1/status")
    return line.partition(":")[2].strip()


def writable_state(definition: Definition) -> set[str]:
    """Return the directories that the image's service may write."""
    return {*definition.config.volumes, *(state.path for state in definition.state)}


@pytest.mark.parametrize(("field", "option"), [("Uid", "-u"), ("Gid", "-g")])
def test_every_process_is_the_service_user_s(host: Host, field: str, option: str) -> None:
    # Processes come and go while they are looked at, this command's own among them.
    found = host.run(f"cat /proc/[0-9]*/status 2>/dev/null | grep ^{field}:").stdout.splitlines()
    user = host.check_output(f"id {option}")
    assert found
    assert user != "0"
    assert {identity for line in found for identity in line.split()[1:]} == {user}


def test_the_service_has_no_capability(host: Host) -> None:
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status(host, capabilities), 16) == 0, capabilities


def test_the_service_can_gain_no_privilege(host: Host) -> None:
    assert status(host, "NoNewPrivs") == "1"


def test_the_root_is_read_only(host: Host) -> None:
    mounts = [line.split() for line in host.check_output("cat /proc/1/mounts").splitlines()]
    options = [fields[3].split(",") for fields in mounts if fields[1] == "/"]
    assert options
    assert all("ro" in each for each in options)


def test_the_service_may_write_its_state_alone(host: Host, definition: Definition) -> None:
    # /proc and /dev are the engine's. Where find may not look, nothing can be written either.
    command = (
        r"find / \( -path /proc -o -path /dev \) -prune -o ! -type l -writable -print 2>/dev/null"
    )
    found = {PurePosixPath(line) for line in host.run(command).stdout.splitlines()}
    state = {PurePosixPath(path) for path in writable_state(definition)}
    assert state <= found
    assert {path for path in found if not state & {path, *path.parents}} == set()


@pytest.mark.parametrize(
    "directory",
    ["/", "/etc", "/home", "/run", "/srv", "/tmp", "/usr/bin", "/var/lib", "/var/log", "/var/tmp"],
)
def test_not_even_root_can_write_elsewhere(
    host: Host, container: str, definition: Definition, directory: str
) -> None:
    assert directory not in writable_state(definition)
    attempt = f"touch {directory.rstrip('/')}/written"
    done = host.backend.run_local(f"docker exec --user 0 {container} {attempt}")
    assert done.rc != 0
    assert "Read-only file system" in done.stderr


def test_nothing_was_written_but_the_state(
    container: str, docker: Callable[..., str], definition: Definition
) -> None:
    # Of the state itself the engine shows nothing but a mount point that it had to make.
    made = {PurePosixPath(path) for path in writable_state(definition)}
    expected = {str(path) for point in made for path in (point, *point.parents)}
    changed = {line.partition(" ")[2] for line in docker("diff", container).splitlines()}
    assert changed - expected == set()
