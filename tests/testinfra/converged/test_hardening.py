# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role hardening left: no way up, no way in, nothing written by all."""

from __future__ import annotations

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]

# One file system is walked: what is mounted is not the image's.
FIND = "find / -xdev"


def test_no_program_runs_as_another_user(host: Host) -> None:
    assert host.check_output(f"{FIND} -type f -perm /6000") == ""


def test_no_file_is_written_by_all(host: Host) -> None:
    assert host.check_output(f"{FIND} -type f -perm -0002") == ""


def test_directories_written_by_all_are_sticky(host: Host) -> None:
    assert host.check_output(f"{FIND} -type d -perm -0002 ! -perm -1000") == ""


def test_no_system_account_has_a_shell(host: Host) -> None:
    accounts = [line.split(":") for line in host.check_output("cat /etc/passwd").splitlines()]
    shells = {
        name: shell
        for name, _password, uid, _gid, _gecos, _home, shell in accounts
        if 0 < int(uid) < 1000 or name == "nobody"
    }
    assert shells
    assert {shell.rpartition("/")[2] for shell in shells.values()} <= {"nologin", "false"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("UMASK", "027"), ("ENCRYPT_METHOD", "YESCRYPT"), ("PASS_MAX_DAYS", "365")],
)
def test_accounts_made_later_start_restricted(host: Host, name: str, value: str) -> None:
    lines = [line.split() for line in host.check_output("cat /etc/login.defs").splitlines()]
    assert [line[1] for line in lines if line and line[0] == name] == [value]


def test_login_shells_keep_new_files_from_others(host: Host) -> None:
    assert host.check_output("sh -c '. /etc/profile && umask'") == "0027"


def test_no_program_may_dump_core(host: Host) -> None:
    limits = host.check_output("cat /etc/security/limits.d/60-kiln.conf").splitlines()
    assert "* hard core 0" in limits


def test_root_logs_in_on_no_terminal(host: Host) -> None:
    assert host.check_output("stat -c '%s %a %U' /etc/securetty") == "0 600 root"
