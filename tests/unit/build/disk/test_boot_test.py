# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot test: what a disk must do before it becomes a version, and what is kept if not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    DiskSpec,
    DiskState,
    DiskTests,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.boot_test import boot_disk
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.workbench import Workbench
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import Toolbox
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

UP = "kernel\nkiln-ready: all units\n"
OFF = UP + "reboot: Power down\n"


class Host:
    """The programs of a controller with an engine, whose one machine goes off when it is asked."""

    def __init__(self, console: str = UP, *, tests: int = 0) -> None:
        self.console = console
        self.tests = tests
        self.runs = True
        self.asked: list[list[str]] = []
        self.ssh = ""

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
        self.asked.append(list(argv))
        if argv[0] == "ssh-keygen":
            Path(argv[-1]).with_suffix(".pub").write_text("ssh-ed25519 AAAA boot-test\n")
        if "pytest" in argv:
            (config,) = [word for word in argv if word.startswith("--ssh-config=")]
            self.ssh = Path(config.partition("=")[2]).read_text()
            return Completed(self.tests, b"F.\n1 failed" if self.tests else b"..\n2 passed", b"")
        if argv[:2] == ["docker", "logs"]:
            return Completed(0, self.console.encode(), b"")
        if argv[:3] == ["docker", "container", "inspect"]:
            state = b"true" if self.runs else b"false"
            return Completed(0, state, b"")
        if stdin is not None and b"system_powerdown" in stdin:
            self.runs, self.console = False, self.console + "reboot: Power down\n"
        return Completed(0, b"", b"")

    def boot(self, spec: DiskSpec, folder: Path) -> dict[str, object]:
        engine = Engine(self)
        bench = Workbench(engine, "bench", 0)
        box = Toolbox(engine, "machine", "s1")
        return boot_disk(box, bench, spec, name="web", folder=folder, runner=self)

    @property
    def machine(self) -> list[str]:
        """The command that started the machine."""
        (found,) = [argv for argv in self.asked if "qemu-system-x86_64" in argv]
        return found


def test_a_disk_that_comes_up_and_goes_off_passes(tmp_path: Path) -> None:
    host = Host()

    booted = host.boot(DiskSpec(("raw",)), tmp_path)

    assert booted["console"] == str(tmp_path / "console.log")
    assert booted["tests"] == ""
    assert (tmp_path / "console.log").read_text() == OFF
    assert host.machine[host.machine.index("--network") + 1] == "none"


def test_a_failed_unit_stops_the_version_and_leaves_the_console(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"web gets no version.*nginx\.service") as caught:
        Host("kiln-ready: nginx.service \n").boot(DiskSpec(("raw",)), tmp_path)

    assert str(tmp_path / "console.log") in str(caught.value)


def test_the_machine_is_gone_whatever_happened(tmp_path: Path) -> None:
    host = Host("kiln-ready: x.service \n")

    with pytest.raises(DriverError):
        host.boot(DiskSpec(("raw",)), tmp_path)

    assert host.asked[-1][:4] == ["docker", "rm", "--force", "--volumes"]


def test_tests_log_in_with_a_key_that_cloud_init_brings(tmp_path: Path) -> None:
    host = Host()
    tests = DiskTests(tmp_path / "checks", "ops")

    booted = host.boot(DiskSpec(("raw",), provision="cloud-init", tests=tests), tmp_path)

    (asked,) = [argv for argv in host.asked if "pytest" in argv]
    assert "--hosts=ssh://web" in asked
    assert "User ops" in host.ssh
    assert "docker exec --interactive kiln-machine-web-s1 socat - TCP:127.0.0.1:2222" in host.ssh
    assert booted["tests"] == "2 passed"
    assert any("seed.img" in word for word in host.machine)
    assert "hostfwd=tcp:127.0.0.1:2222-:22" in " ".join(host.machine)
    assert host.machine[host.machine.index("--network") + 1] == "none"


def test_tests_that_fail_stop_the_version(tmp_path: Path) -> None:
    tests = DiskTests(tmp_path / "checks")
    spec = DiskSpec(("raw",), provision="cloud-init", tests=tests)

    with pytest.raises(DriverError, match="1 failed"):
        Host(tests=1).boot(spec, tmp_path)


def test_state_of_its_own_disk_is_found_by_its_serial_number(tmp_path: Path) -> None:
    host = Host()
    state = DiskState(device="/dev/disk/by-id/virtio-data")

    host.boot(DiskSpec(("raw",), state=state), tmp_path)

    assert any(word.endswith("serial=data") for word in host.machine)
