# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk booted in QEMU, in a container of its own: what it says, and whether it comes up."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.errors import DriverError
from ...core.files import write_whole
from ...core.waiting import Clock, wait_for
from ..engine import SESSION_LABEL, Engine
from ..toolbox import Toolbox, ToolboxSpec

PACKAGES = ("ovmf", "qemu-system-x86", "qemu-utils", "socat")
READY = re.compile(r"^kiln-ready: (.*?)\s*$", re.MULTILINE)
ALL_UNITS = "all units"
SHUTDOWN_SECONDS = 300

# One processor: of two, one waits for locks that the other holds while that one waits for the host.
# Pages are found in four steps instead of five, and there is nothing for which the guest would load
# the modules of ciphers, each of which tries itself, and of machines in the machine.
_TRANSLATED = ["-cpu", "max,la57=off,svm=off,aes=off,vaes=off,pclmulqdq=off", "-smp", "1"]
_NATIVE = ["-cpu", "host", "-smp", "2"]
_FIRMWARE = "/usr/share/OVMF"
_CONTROL = "/tmp/qmp"
_SCREEN = "/tmp/screen.png"


def machine_spec(mirror: str | None = None) -> ToolboxSpec:
    """Return the toolbox in which disks are booted."""
    return ToolboxSpec("machine", PACKAGES, mirror=mirror)


@dataclass(frozen=True, slots=True)
class Drive:
    """A disk of the machine, as a file that its container finds.

    :param format: as QEMU calls it.
    :param serial: by which the guest finds it in /dev/disk/by-id, after ``virtio-``.
    :param lasts: whether what the guest writes is written to the file.
    """

    path: str
    format: str = "raw"
    serial: str = ""
    lasts: bool = False

    @property
    def options(self) -> list[str]:
        """QEMU's options for it."""
        name = "d" + re.sub(r"[^a-z0-9]", "", self.path.lower())[-24:]
        backend = f"file={self.path},format={self.format},if=none,id={name}"
        backend += ",cache=unsafe" + ("" if self.lasts else ",snapshot=on")
        device = f"virtio-blk-pci,drive={name}" + (f",serial={self.serial}" if self.serial else "")
        return ["-drive", backend, "-device", device]


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """What is booted, and on what.

    :param drives: the first one is booted from.
    :param firmware: ``uefi`` or ``bios``.
    :param accelerator: of QEMU: ``tcg`` works everywhere, ``kvm`` where the host lets it.
    :param ports: TCP ports of the guest and those of the container that lead to them.
    :param starts_anew: whether it goes on when the guest reboots; otherwise it is off then.
    """

    drives: tuple[Drive, ...]
    firmware: str = "uefi"
    accelerator: str = "tcg"
    memory: int = 1024
    ports: Mapping[int, int] = field(default_factory=dict, hash=False)
    starts_anew: bool = False

    def command(self) -> list[str]:
        """The command line of QEMU."""
        argv = ["qemu-system-x86_64", "-machine", "q35", "-accel", self.accelerator]
        argv += _TRANSLATED if self.accelerator == "tcg" else _NATIVE
        argv += ["-m", str(self.memory), "-nodefaults", "-no-user-config"]
        argv += [] if self.starts_anew else ["-no-reboot"]
        argv += ["-display", "none", "-vga", "std", "-serial", "stdio"]
        argv += ["-qmp", f"unix:{_CONTROL},server=on,wait=off", "-device", "virtio-rng-pci"]
        if self.firmware == "uefi":
            flash = "if=pflash,format=raw,file="
            argv += ["-drive", f"{flash}{_FIRMWARE}/OVMF_CODE_4M.fd,unit=0,readonly=on"]
            argv += ["-drive", f"{flash}{_FIRMWARE}/OVMF_VARS_4M.fd,unit=1,snapshot=on"]
        for drive in self.drives:
            argv += drive.options
        # The guest reaches nothing; only its container reaches it, by what is forwarded.
        forwards = "".join(
            f",hostfwd=tcp:127.0.0.1:{outer}-:{inner}"
            for inner, outer in sorted(self.ports.items())
        )
        argv += ["-netdev", f"user,id=net,restrict=on{forwards}"]
        return [*argv, "-device", "virtio-net-pci,netdev=net"]


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that was started."""

    engine: Engine
    container: str
    clock: Clock

    @property
    def console(self) -> str:
        """What the guest wrote to its serial console until now."""
        done = self.engine.runner(["docker", "logs", self.container], check=False)
        return done.stdout.decode("utf-8", "replace").replace("\r", "")

    @property
    def runs(self) -> bool:
        """Whether it is still on."""
        form = ["docker", "container", "inspect", "--format", "{{.State.Running}}"]
        return self.engine.runner([*form, self.container], check=False).text == "true"

    def wait_until_ready(self, seconds: float) -> tuple[str, ...]:
        """Wait until the guest says that it is up; return the units that failed in it.

        Raises DriverError when it stops before, or says nothing for so long.
        """

        def said() -> tuple[str, ...] | None:
            # Asked first: what it said before it stopped is in the console then.
            runs = self.runs
            console = self.console
            found = READY.search(console)
            if found is not None:
                named = found.group(1)
                return () if named == ALL_UNITS else tuple(named.split())
            if not runs:
                raise DriverError(f"The machine stopped before it was up: {last_words(console)}")
            return None

        return wait_for(
            "the machine to be up", said, timeout=seconds, interval=0.5, clock=self.clock
        )

    def shut_down(self) -> None:
        """Press the power button and wait until the machine is off.

        Raises DriverError when it does not go off by itself.
        """
        # Pressed before the guest has found it, a button does nothing.
        presses = itertools.cycle((True, *[False] * 9))

        def off() -> bool | None:
            if self.runs:
                if next(presses):
                    self.control("system_powerdown")
                return None
            return True

        wait_for(
            "the machine to go off",
            off,
            timeout=SHUTDOWN_SECONDS,
            interval=0.5,
            clock=self.clock,
        )
        if "Power down" not in self.console:
            raise DriverError(f"The machine did not shut down cleanly: {last_words(self.console)}")

    def control(self, command: str, **arguments: Any) -> None:
        """Give QEMU a command (QMP); what it answers is not looked at."""
        asked = {"execute": command, **({"arguments": arguments} if arguments else {})}
        lines = json.dumps({"execute": "qmp_capabilities"}) + "\n" + json.dumps(asked) + "\n"
        talk = ["socat", "-t", "2", "-", f"UNIX-CONNECT:{_CONTROL}"]
        self.engine.execute(self.container, talk, stdin=lines.encode(), check=False)

    def screenshot(self) -> bytes:
        """Return what the machine's screen shows as PNG; empty when there is nothing to show."""
        self.control("screendump", filename=_SCREEN, format="png")
        return self.engine.execute(self.container, ["cat", _SCREEN], check=False).stdout


def start_machine(
    toolbox: Toolbox,
    spec: MachineSpec,
    container: str,
    *,
    options: Sequence[str],
    labels: Mapping[str, str],
    clock: Clock = time,
) -> Machine:
    """Start a machine in *container*, in the place of one of that name; it stays until removed.

    :param options: of the engine's client, by which the container finds the drives.
    """
    engine = toolbox.engine
    engine.remove_containers([container])
    more = ["--network", "none", *options]
    if spec.accelerator == "kvm":
        more += ["--device", "/dev/kvm"]
    engine.start_container(container, toolbox.image, spec.command(), options=more, labels=labels)
    return Machine(engine, container, clock)


@contextlib.contextmanager
def machine(
    toolbox: Toolbox,
    spec: MachineSpec,
    *,
    name: str,
    session: str,
    options: Sequence[str],
    clock: Clock = time,
) -> Iterator[Machine]:
    """Give a machine for the time of the block.

    :param name: of the image that is booted.
    :param options: of the engine's client, by which the container finds the drives.
    """
    container = f"kiln-machine-{name}-{session}"
    labels = {SESSION_LABEL: session}
    try:
        yield start_machine(toolbox, spec, container, options=options, labels=labels, clock=clock)
    finally:
        toolbox.engine.remove_containers([container])


def keep_evidence(folder: Path, it: Machine) -> list[Path]:
    """Write the console and the screen of *it* to *folder*; return the files."""
    kept = []
    for name, content in (
        ("console.log", it.console.encode()),
        ("screen.png", it.screenshot() if it.runs else b""),
    ):
        if content:
            write_whole(folder / name, content)
            kept.append(folder / name)
    return kept


def last_words(console: str, count: int = 5) -> str:
    """Return the end of what a console says, without the colours."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console)
    lines = [line for line in plain.splitlines() if line.strip()]
    return "\n".join(lines[-count:]) or "it said nothing"
