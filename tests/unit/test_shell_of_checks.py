# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one shell that serves all commands of the checks of a root."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.tests.testinfra import container_shell
from ansible_collections.kiln.immutable.tests.testinfra.container_shell import (
    is_container,
    open_host,
)
from testinfra import get_host
from testinfra.host import Host


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Return this machine, by a shell of ours."""
    monkeypatch.setattr(container_shell, "ERR", str(tmp_path / "err"))
    opened = open_host("here", ["/bin/sh"])
    yield opened
    with contextlib.suppress(ValueError):  # the test has closed it
        opened.backend.close()


def test_status_and_both_outputs_are_told_apart(host: Host, tmp_path: Path) -> None:
    done = host.run("printf %s 'no newline'; echo oops >&2; exit 3")
    assert (done.rc, done.stdout, done.stderr) == (3, "no newline", "oops\n")
    done = host.run("head -c 1000000 /dev/zero; printf '\\n\\n'")
    assert (done.rc, done.stdout_bytes, done.stderr) == (0, bytes(1_000_000) + b"\n\n", "")
    host.backend.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_command_does_to_its_shell_is_gone_with_it(host: Host) -> None:
    assert host.run("if then").rc == 2
    assert host.run("cd /usr; word=said; pwd").stdout == "/usr\n"
    assert host.run("pwd; echo $word").stdout != "/usr\nsaid\n"
    assert host.run("cat").stdout == ""  # nothing is to be read, least of all the next command


def test_a_command_that_does_not_end_is_given_up(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_shell, "LIMIT", 0.2)
    with pytest.raises(RuntimeError, match=r"Not done in here within 0\.2 s: sleep 1"):
        host.run("sleep 1")


def test_a_shell_that_ends_is_an_error(host: Host) -> None:
    with pytest.raises(RuntimeError, match="The shell in here ended at: kill"):
        host.run("kill $$")


@pytest.mark.parametrize(
    ("name", "well"),
    [
        ("docker://web", True),
        ("ansible://plain", True),
        ("ansible://collected", True),
        ("ansible://remote", False),
        ("local://", False),
    ],
)
def test_a_container_is_known_by_its_name_and_by_the_inventory(
    tmp_path: Path, name: str, well: bool
) -> None:
    inventory = tmp_path / "hosts"
    inventory.write_text(
        "plain ansible_connection=docker\n"
        "collected ansible_connection=community.docker.docker\n"
        "remote ansible_connection=ssh\n"
    )
    assert is_container(get_host(name, ansible_inventory=str(inventory))) is well
