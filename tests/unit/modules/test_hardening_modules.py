# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of the hardening roles decide, and what they leave in a tree of files."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.kiln.immutable.plugins.module_utils.core import dpkg
from ansible_collections.kiln.immutable.plugins.modules import (
    line_edits,
    packages_removed,
    pam_profiles,
    permissions_sweep,
    sysctl_settings,
)

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a module and gives its result."""

    def call(module: ModuleType, *, check: bool = False, **parameters: Any) -> dict[str, Any]:
        given = {**parameters, "_ansible_check_mode": check}
        with patch_module_args(given), pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return call


def test_a_line_stands_in_place_of_the_first_that_matches() -> None:
    text = "a\numask 022\nb\numask 002\n"
    assert line_edits.edited(text, r"^umask\s", "umask 027") == "a\numask 027\nb\n"


def test_a_line_that_matches_nothing_is_added_at_its_place() -> None:
    text = "auth sufficient pam_rootok.so\nsession x\n@include common-auth\n"
    line = "auth required pam_wheel.so"
    assert line_edits.edited(text, "pam_wheel", line, r"^(session|@include)\s") == (
        f"auth sufficient pam_rootok.so\n{line}\nsession x\n@include common-auth\n"
    )
    assert line_edits.edited("a", "pam_wheel", line, "never") == f"a\n{line}\n"


def test_without_a_line_what_matches_goes() -> None:
    assert line_edits.edited("a\nx 1\nx 2\n", "^x ", None) == "a\n"


def test_edits_keep_modes_and_change_nothing_twice(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "su"
    path.write_text("one\n")
    path.chmod(0o640)
    edit = {"path": str(path), "match": "^two", "line": "two"}

    checked = run(line_edits, check=True, edits=[edit])
    assert (checked["changed"], path.read_text()) == (True, "one\n")

    assert run(line_edits, edits=[edit])["paths"] == [str(path)]
    assert path.read_text() == "one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert run(line_edits, edits=[edit])["changed"] is False


def test_a_file_is_made_only_on_request(tmp_path: Path, run: Run) -> None:
    edit = {"path": str(tmp_path / "etc" / "fstab"), "match": "^x", "line": "x"}

    assert run(line_edits, edits=[edit])["changed"] is False
    assert run(line_edits, edits=[{**edit, "create": True}])["changed"] is True
    assert (tmp_path / "etc" / "fstab").read_text() == "x\n"


def test_an_expression_that_is_none_is_said(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "x"
    path.write_text("")
    failed = run(line_edits, edits=[{"path": str(path), "match": "(", "line": "x"}])
    assert failed["failed"] is True
    assert f"The edit of {path} has a match or before that is no regular" in failed["msg"]


def test_parameters_are_read_in_both_spellings() -> None:
    text = "# kernel.a = 1\nkernel.b=2\n-net/ipv4/conf/eth0.1/rp_filter = 1\n ; x = 1\n"
    assert sysctl_settings.parse(text) == {"kernel.b": "2", "net.ipv4.conf.eth0/1.rp_filter": "1"}


def test_another_file_does_not_contradict() -> None:
    text = "# kept\nkernel.kptr_restrict = 0\nkernel.other = 1\nkernel/kptr_restrict=1\n"
    assert sysctl_settings.without(text, {"kernel.kptr_restrict"}) == "# kept\nkernel.other = 1\n"


def test_parameters_that_changed_are_named(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "60-kiln.conf"
    settings = {"kernel.kptr_restrict": 2, "kernel.dmesg_restrict": 1}

    first = run(sysctl_settings, path=str(path), settings=settings)
    assert first["settings"] == [
        "kernel.dmesg_restrict: unset -> 1",
        "kernel.kptr_restrict: unset -> 2",
    ]
    assert path.read_text() == "kernel.dmesg_restrict = 1\nkernel.kptr_restrict = 2\n"

    checked = run(sysctl_settings, check=True, path=str(path), settings={"kernel.kptr_restrict": 1})
    assert checked["settings"] == [
        "kernel.dmesg_restrict: 1 -> unset",
        "kernel.kptr_restrict: 2 -> 1",
    ]
    assert run(sysctl_settings, path=str(path), settings=settings)["changed"] is False
    assert run(sysctl_settings, path=str(path), settings={})["changed"] is True
    assert not path.exists()


def test_packages_are_found_by_pattern_in_dpkg_s_database() -> None:
    status = (
        "Package: telnet\nStatus: install ok installed\n\n"
        "Package: talk\nStatus: deinstall ok config-files\n\n"
        "Package: ftp\nStatus: purge ok not-installed\n\n"
        "Package: dovecot-imapd\nStatus: install ok installed\n"
    )
    there = {package.name for package in dpkg.parse_status(status)}
    assert there == {"telnet", "talk", "dovecot-imapd"}
    assert packages_removed.unwanted(there, ["dovecot-*", "ftp", "talk"]) == [
        "dovecot-imapd",
        "talk",
    ]
    assert packages_removed.unwanted(there, []) == []


@pytest.mark.parametrize(
    ("path", "mode", "swept"),
    [
        ("/var/log/wtmp", 0o664, 0o640),
        ("/var/log/nginx/access.log", 0o600, 0o600),
        ("/var/logs", 0o644, 0o644),
    ],
)
def test_logs_are_taken_from_others(path: str, mode: int, swept: int) -> None:
    assert (
        permissions_sweep.swept_mode(path, stat.S_IFREG | mode, (), world_writable=True, logs=True)
        == swept
    )
    assert permissions_sweep.swept_mode(path, stat.S_IFREG | mode, (), world_writable=True) == mode


def test_pam_is_left_alone_where_there_is_none(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pam_profiles, "PROGRAM_PATH", str(tmp_path))
    assert run(pam_profiles, profiles={"x": "Name: x\n"}) == {
        "changed": False,
        "paths": [],
        "invocation": {"module_args": {"profiles": {"x": "Name: x\n"}, "disabled": []}},
    }


PROGRAM = """#!/bin/sh
# Stands in for pam-auth-update: notes what is enabled as it does.
state={state}
while [ $# -gt 0 ]; do
    case $1 in
        --enable) mode=enable ;;
        --disable) mode=disable ;;
        *) if [ $mode = enable ]; then echo "Module: $1" >>"$state/auth"
           else sed -i "/^Module: $1$/d" "$state/auth"; fi ;;
    esac
    shift
done
"""


def test_profiles_are_written_and_enabled_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("bin", "configs", "state", "pam.d"):
        (tmp_path / name).mkdir()
    (tmp_path / "state" / "auth").write_text("Module: unix\n")
    program = tmp_path / "bin" / "pam-auth-update"
    program.write_text(PROGRAM.format(state=tmp_path / "state"))
    program.chmod(0o755)
    monkeypatch.setattr(pam_profiles, "PROGRAM_PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(pam_profiles, "PROFILES", tmp_path / "configs")
    monkeypatch.setattr(pam_profiles, "CHOSEN", tmp_path / "state")
    monkeypatch.setattr(pam_profiles, "MADE", (tmp_path / "pam.d" / "common-auth",))
    wanted = {"profiles": {"kiln-unix": "Name: unix\n"}, "disabled": ["unix"]}

    checked = run(pam_profiles, check=True, **wanted)
    assert checked["paths"] == [str(tmp_path / "configs" / "kiln-unix")]
    assert not (tmp_path / "configs" / "kiln-unix").exists()

    assert run(pam_profiles, **wanted)["changed"] is True
    assert (tmp_path / "state" / "auth").read_text() == "Module: kiln-unix\n"
    assert (tmp_path / "configs" / "kiln-unix").read_text() == "Name: unix\n"
    assert run(pam_profiles, **wanted)["changed"] is False


def test_files_that_were_edited_by_hand_are_said(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "pam-auth-update"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(pam_profiles, "PROGRAM_PATH", str(tmp_path))
    monkeypatch.setattr(pam_profiles, "PROFILES", tmp_path)
    monkeypatch.setattr(pam_profiles, "CHOSEN", tmp_path)
    failed = run(pam_profiles, profiles={"kiln-lock": "Name: lock\n"})
    assert failed["failed"] is True
    assert "pam-auth-update left the files in /etc/pam.d as they are" in failed["msg"]
