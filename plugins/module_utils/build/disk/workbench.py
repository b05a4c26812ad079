# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container of the toolbox that stays for the time of one assembly, and its working folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...core.command import Completed
from ...core.errors import DriverError
from ..bootstrapping import available_memory
from ..container_shell import ContainerShell, container_shell
from ..engine import SESSION_LABEL, Engine
from ..toolbox import Toolbox, ToolboxSpec

FOLDER = "/work"
PACKAGES = (
    "cryptsetup-bin",
    "dosfstools",
    "e2fsprogs",
    "erofs-utils",
    "fdisk",
    "grub-common",
    "grub-pc-bin",
    # By it mke2fs reads a tar.
    "libarchive13t64",
    "mtools",
    # By it layers are inflated.
    "python3-isal",
    "qemu-utils",
    "systemd-boot-efi",
    # It brings Python, by which the bench's shell runs.
    "systemd-ukify",
)
_SPARE_MEMORY = 3 << 30
"""Bytes that are left to others, the machine of a boot test among them."""


def disk_spec(mirror: str | None = None) -> ToolboxSpec:
    """Return the toolbox that assembles disks."""
    return ToolboxSpec("disk", PACKAGES, mirror=mirror)


@dataclass(frozen=True, slots=True)
class Workbench:
    """Runs the tools; paths in their arguments are below ``FOLDER`` or absolute."""

    engine: Engine
    container: str
    epoch: int
    shell: ContainerShell | None = None

    def run(self, *argv: str, stdin: bytes | None = None) -> Completed:
        """Run a tool in the working folder to its end; DriverError says why it failed."""
        command = self._command(argv)
        if self.shell is not None:
            done = self.shell.run(command, stdin)
        else:
            done = self.engine.execute(self.container, command, stdin=stdin, check=False)
        if done.status != 0:
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
            raise DriverError(f"{argv[0]} could not do its part of the disk: {said}")
        return done

    def feed(self, content: Iterable[bytes], *argv: str) -> None:
        """Run a tool with *content* as its standard input."""
        self.engine.feed(self.container, self._command(argv), content)

    def write(self, name: str, content: bytes) -> None:
        """Write *content* to the file *name*."""
        self.run("sh", "-c", 'cat > "$1"', "write", name, stdin=content)

    def read(self, name: str) -> Iterator[bytes]:
        """Give the content of the file *name*, piece by piece."""
        return self.engine.stream(self.container, self._command(["cat", name]))

    def size(self, name: str) -> int:
        """Return the bytes of the file *name*."""
        return int(self.run("stat", "--format=%s", name).text)

    def _command(self, argv: Sequence[str]) -> list[str]:
        # What tools would put in for the present time is the time of the image.
        clock = [f"SOURCE_DATE_EPOCH={self.epoch}", "TZ=UTC", "LC_ALL=C.UTF-8"]
        # mkfs.erofs lays all files aside before it compresses them.
        return ["env", f"--chdir={FOLDER}", f"TMPDIR={FOLDER}", *clock, *argv]


def folder_options(expected: int, memory: int) -> list[str]:
    """Return the engine's options for a folder that is in memory where there is ample room. Pure.

    :param expected: bytes that are going to be in it; 0 when nobody knows.
    :param memory: bytes that programs can have.
    """
    room = memory - _SPARE_MEMORY
    if not 0 < 2 * expected <= room:
        return ["--volume", FOLDER]
    kind = "volume-opt=type=tmpfs,volume-opt=device=tmpfs"
    return ["--mount", f"type=volume,destination={FOLDER},{kind},volume-opt=o=size={room}"]


@contextlib.contextmanager
def workbench(
    toolbox: Toolbox, *, name: str, session: str, epoch: int, expected: int = 0
) -> Iterator[Workbench]:
    """Give a workbench for the time of the block; the folder is gone afterwards.

    :param name: of the image in its definition.
    :param epoch: the time that tools take for the present one, in seconds since 1970.
    :param expected: bytes that are going to be in the folder; 0 when nobody knows.
    """
    engine = toolbox.engine
    container = f"kiln-disk-{name}-{session}"
    engine.remove_containers([container])
    # Where the engine is somewhere else, its memory is not known.
    memory = 0 if os.environ.get("DOCKER_HOST") else available_memory()
    try:
        engine.start_container(
            container,
            toolbox.image,
            ["sleep", "infinity"],
            options=["--init", "--network", "none", *folder_options(expected, memory)],
            labels={SESSION_LABEL: session},
        )
        with container_shell(container) as shell:
            yield Workbench(engine, container, epoch, shell)
    finally:
        engine.remove_containers([container])
