# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages go with Python, on what dpkg and apt say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.python_removal import (
    installed_tooling,
    plan_removal,
    removals,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

TOOLING = ("libpython3.11-minimal", "python3", "python3-apt", "python3.11")


def status(*names: str, state: str = "install ok installed") -> str:
    return "\n\n".join(
        f"Package: {name}\nStatus: {state}\nDescription: x\n a line: with a colon" for name in names
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root where Python and bash are installed."""
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(status("bash", *TOOLING))
    return tmp_path


class Apt:
    """Answers simulations: what each kind of run would remove."""

    def __init__(
        self, *, idle: Sequence[str] = (), forced: Sequence[str] = (), every: Sequence[str] = ()
    ) -> None:
        self.idle, self.forced, self.every = idle, forced, every
        self.calls = 0

    def __call__(self, argv: Sequence[str], **_options: Any) -> Completed:
        assert "--simulate" in argv
        self.calls += 1
        if argv[-1] == "autoremove":
            names = self.idle
        else:
            names = self.every if "--auto-remove" in argv else self.forced
        return Completed(0, "".join(f"Purg {name} [1.0]\n" for name in names).encode(), b"")


def test_tooling_is_found_in_the_package_database() -> None:
    assert installed_tooling(status("bash", *TOOLING, "python3-yaml")) == TOOLING
    assert installed_tooling(status(*TOOLING, state="deinstall ok config-files")) == ()


def test_removals_are_read_from_a_simulation() -> None:
    assert removals("Inst x\nRemv a [1]\nPurg b [2:1.0-1]\nConf c") == ("a", "b")


def test_a_root_without_python_asks_nothing(root: Path) -> None:
    (root / "var/lib/dpkg/status").write_text(status("bash"))
    apt = Apt()
    assert plan_removal(root, apt) == ()
    assert apt.calls == 0


def test_what_only_python_needed_goes_and_what_was_idle_before_stays(root: Path) -> None:
    apt = Apt(idle=("old",), forced=TOOLING, every=(*TOOLING, "libexpat1", "old"))
    assert plan_removal(root, apt) == ("libexpat1", *TOOLING)


@pytest.mark.parametrize(
    ("needing", "words"),
    [(("gdb",), "gdb needs it"), (("gdb", "python3-yaml"), "each of gdb, python3-yaml needs it")],
)
def test_a_package_that_needs_python_is_named(
    root: Path, needing: tuple[str, ...], words: str
) -> None:
    with pytest.raises(DriverError, match=words) as caught:
        plan_removal(root, Apt(forced=(*TOOLING, *needing)))
    assert "seal_python" in caught.value.hint


def test_a_package_that_nothing_needed_before_does_not_keep_python(root: Path) -> None:
    every = (*TOOLING, "lsb-release")
    apt = Apt(idle=("lsb-release",), forced=every, every=every)
    assert plan_removal(root, apt) == TOOLING


def test_what_pip_installed_is_named(root: Path) -> None:
    place = root / "usr/local/lib/python3.11/dist-packages/flask"
    place.mkdir(parents=True)
    with pytest.raises(DriverError, match=r"/usr/local/lib/python3\.11/dist-packages/flask"):
        plan_removal(root, Apt(forced=TOOLING, every=TOOLING))
