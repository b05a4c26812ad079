# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that is booted: what it is started with, and how its console is understood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.machine import (
    Drive,
    Machine,
    MachineSpec,
    keep_evidence,
    last_words,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds


class Host:
    """An engine whose one container says more each time that it is asked, and may end.

    With ``deaf`` set to N it goes off when its button is pressed for the N+1st time.
    """

    def __init__(self, *console: str, ends: bool = False) -> None:
        self.console = list(console)
        self.ends = ends
        self.deaf, self.presses = -1, 0
        self.asked: list[Sequence[str]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> Completed:
        self.asked.append(argv)
        self.presses += stdin is not None and b"system_powerdown" in stdin
        if argv[1] == "logs":
            text = self.console.pop(0) if len(self.console) > 1 else self.console[0]
            return Completed(0, text.encode(), b"")
        if argv[1] == "container":
            over = self.presses > self.deaf >= 0 or (self.ends and len(self.console) == 1)
            return Completed(0, b"false" if over else b"true", b"")
        return Completed(0, b"picture" if "cat" in argv else b"", b"")


def started(host: Host) -> Machine:
    return Machine(Engine(host), "it", Clock())


def test_the_first_drive_is_booted_and_keeps_nothing() -> None:
    command = MachineSpec((Drive("/work/disk.raw"),)).command()

    assert "file=/work/disk.raw,format=raw,if=none,id=dworkdiskraw,cache=unsafe,snapshot=on" in (
        command
    )
    assert command[command.index("-accel") + 1] == "tcg"
    assert any("OVMF_CODE_4M.fd" in word for word in command)


def test_a_guest_that_reboots_is_off_unless_it_may_go_on() -> None:
    once, again = (MachineSpec((Drive("/d"),), starts_anew=one) for one in (False, True))

    assert "-no-reboot" in once.command()
    assert "-no-reboot" not in again.command()


def test_a_machine_with_a_bios_has_no_other_firmware() -> None:
    assert not any("OVMF" in w for w in MachineSpec((Drive("/d"),), firmware="bios").command())


def test_a_drive_that_lasts_is_written_and_found_by_its_serial() -> None:
    drive = Drive("/work/state.raw", serial="state", lasts=True)

    backend, device = drive.options[1], drive.options[3]
    assert "snapshot" not in backend
    assert device == "virtio-blk-pci,drive=dworkstateraw,serial=state"


def test_the_guest_reaches_nothing_but_is_reached_by_the_named_ports() -> None:
    command = MachineSpec((Drive("/d"),), ports={22: 2222}).command()

    (network,) = [word for word in command if word.startswith("user,")]
    assert network == "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:2222-:22"


def test_a_machine_is_up_when_its_console_says_so() -> None:
    host = Host("BIOS", "BIOS\r\nkiln-ready: all units\r\n")

    assert started(host).wait_until_ready(60) == ()


def test_units_that_failed_are_named() -> None:
    host = Host("noise\nkiln-ready: nginx.service ssh.service \n")

    assert started(host).wait_until_ready(60) == ("nginx.service", "ssh.service")


def test_a_machine_that_stops_before_it_is_up_is_not_waited_for() -> None:
    host = Host("one", "two\nKernel panic", ends=True)

    with pytest.raises(DriverError, match="stopped before it was up: two\nKernel panic"):
        started(host).wait_until_ready(60)


def test_a_machine_that_says_nothing_is_waited_for_as_long_as_was_said() -> None:
    with pytest.raises(DriverError, match="Waited 60 s for the machine to be up"):
        started(Host("BIOS")).wait_until_ready(60)


def test_a_machine_that_goes_off_without_saying_so_was_not_shut_down() -> None:
    with pytest.raises(DriverError, match="did not shut down cleanly: gone"):
        started(Host("gone", ends=True)).shut_down()


def test_a_machine_that_says_so_was_shut_down() -> None:
    host = Host("reboot: Power down")
    host.deaf = 1

    started(host).shut_down()

    assert host.presses == 2


def test_console_and_screen_are_kept(tmp_path: Path) -> None:
    kept = keep_evidence(tmp_path, started(Host("said")))

    assert [path.name for path in kept] == ["console.log", "screen.png"]
    assert [path.read_bytes() for path in kept] == [b"said", b"picture"]


def test_the_last_words_are_without_colours_and_empty_lines() -> None:
    assert last_words("a\n\x1b[0;1;31mb\x1b[0m\n\n  \n", 5) == "a\nb"
    assert last_words("") == "it said nothing"
