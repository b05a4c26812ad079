# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages are missing, what apt is asked for, and what is said when it refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.kiln.immutable.plugins.module_utils.core import dpkg
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.modules import packages_installed

STATUS = """\
Package: nginx
Status: install ok installed
Architecture: amd64
Version: 1.22.1-9
Provides: httpd, nginx-abi-1.22.1 (= 1)
Description: small, powerful web server
 Version: 9 of what the text says is not the package's.

Package: talk
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0
"""

# In the place of apt-get: notes what it is asked, and installs the last package of its arguments.
APT = """\
#!/bin/sh
echo "$*" >> "$KILN_TEST_ASKED"
case " $* " in
  *" update "*) exit 0 ;;
  *" nowhere "*) echo "E: Unable to locate package nowhere" >&2; exit 100 ;;
  *" --simulate "*) echo "Inst talk (2.0 Debian:12 [amd64])"; exit 0 ;;
  *" talk "*) printf "$KILN_TEST_MORE" >> "$KILN_TEST_STATUS" ;;
esac
"""


# What talk brings along.
MORE = "\nPackage: more\nStatus: install ok installed\nArchitecture: all\nVersion: 3\n"


@dataclass(frozen=True, slots=True)
class Target:
    """A system whose apt writes down what it is asked for."""

    status: Path
    lists: Path
    log: Path
    output: Callable[[], str]

    @property
    def asked(self) -> list[list[str]]:
        """The commands of apt, without its options."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [[word for word in line.split() if not word.startswith("-")] for line in lines]

    def run(self, *names: str, check: bool = False, **more: Any) -> dict[str, Any]:
        """Run the module and return its result."""
        given = {"names": list(names), "_ansible_check_mode": check, **more}
        with patch_module_args(given), pytest.raises(SystemExit):
            packages_installed.main()
        result: dict[str, Any] = json.loads(self.output())
        return result


@pytest.fixture
def target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Target:
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text(APT)
    apt.chmod(0o755)
    found = Target(
        tmp_path / "status", tmp_path / "lists", tmp_path / "asked", lambda: capsys.readouterr().out
    )
    found.status.write_text(STATUS)
    found.lists.mkdir()
    monkeypatch.setenv("PATH", f"{apt.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("KILN_TEST_ASKED", str(found.log))
    monkeypatch.setenv("KILN_TEST_MORE", MORE)
    monkeypatch.setenv("KILN_TEST_STATUS", str(found.status))
    monkeypatch.setattr(dpkg, "STATUS", found.status)
    monkeypatch.setattr(packages_installed, "LISTS", (tmp_path / "stamp", found.lists))
    return found


@pytest.mark.parametrize(
    ("names", "absent"),
    [
        (
            ["nginx", "nginx:amd64", "nginx=1.22.1-9", "nginx=1.22*", "httpd", "nginx-abi-1.22.1"],
            [],
        ),
        (["talk"], ["talk"]),  # of which only the configuration is left
        (["nginx:arm64", "nginx=1.24*", "nginx-light", "nginx-light"], None),
        (["httpd=2"], ["httpd=2"]),  # what is provided has no version of its own to compare
    ],
)
def test_what_is_missing_is_told_by_state_architecture_and_version(
    names: list[str], absent: list[str] | None
) -> None:
    expected = list(dict.fromkeys(names)) if absent is None else absent

    assert packages_installed.missing(dpkg.parse_status(STATUS), names) == expected


@pytest.mark.parametrize("name", ["", "Nginx", "nginx-", "--purge", "nginx vim", "nginx="])
def test_what_is_no_name_of_a_package_is_refused(name: str) -> None:
    with pytest.raises(DriverError, match="in the option names is no name of a package"):
        packages_installed.missing([], [name])


def test_apt_is_not_started_when_nothing_is_missing(target: Target) -> None:
    os.utime(target.lists, (0, 0))

    result = target.run("nginx")

    assert (result["changed"], result["missing"], target.asked) == (False, [], [])


def test_what_is_missing_is_installed_and_what_came_along_is_shown(target: Target) -> None:
    result = target.run("nginx", "talk")

    (asked,) = target.asked
    assert asked[-2:] == ["install", "talk"]
    assert (result["changed"], result["missing"]) == (True, ["talk"])
    assert result["diff"] == {
        "before": "nginx:amd64 1.22.1-9\n",
        "after": "more:all 3\nnginx:amd64 1.22.1-9\n",
    }


def test_updates_and_new_packages_come_in_one_run(target: Target) -> None:
    result = target.run("talk", upgrade=True)

    (asked,) = target.asked
    assert asked[-2:] == ["dist-upgrade", "talk"]
    assert result["changed"] is True


def test_updates_that_change_nothing_are_no_change(target: Target) -> None:
    result = target.run("nginx", upgrade=True)

    (asked,) = target.asked
    assert asked[-1] == "dist-upgrade"
    assert result["changed"] is False


def test_old_lists_are_fetched_first_and_new_then(target: Target) -> None:
    os.utime(target.lists, (0, 0))

    first, second = target.run("talk"), target.run("talk")

    assert [words[-1] for words in target.asked] == ["update", "talk", "talk"]
    assert (first["lists_updated"], second["lists_updated"]) == (True, False)


def test_what_apt_says_is_why_it_failed(target: Target) -> None:
    result = target.run("nowhere")

    assert result["failed"] is True
    assert result["msg"] == (
        "apt-get failed to install nowhere: E: Unable to locate package nowhere"
    )


def test_check_mode_only_simulates(target: Target) -> None:
    result = target.run("talk", check=True)

    assert "--simulate" in target.log.read_text()
    assert result["changed"] is True
    assert "talk:amd64 2.0\n" in result["diff"]["after"]


def test_check_mode_with_old_lists_asks_nobody(target: Target) -> None:
    os.utime(target.lists, (0, 0))

    result = target.run("talk", check=True)

    assert target.asked == []
    assert result["changed"] is True
    assert "talk in the newest version\n" in result["diff"]["after"]


def test_a_plan_of_apt_is_read() -> None:
    before = ["libc6:amd64 2.36-9\n", "libc6:i386 2.36-9\n", "old:all 1\n"]
    plan = (
        "Inst libc6 [2.36-9] (2.36-10 Debian:12 [amd64])\n"
        "Inst libc6:i386 [2.36-9] (2.36-10 Debian:12 [i386]) []\n"
        "Remv old [1]\n"
        "Conf libc6 (2.36-10 Debian:12 [amd64])\n"
    )

    assert packages_installed.planned(before, plan) == [
        "libc6:amd64 2.36-10\n",
        "libc6:i386 2.36-10\n",
    ]
