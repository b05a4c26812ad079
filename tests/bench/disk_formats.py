# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boots a disk of each release, with each kind of root, in each format.

    make bench BENCH=disk_formats

Two are booted at a time, each on a core. It ends with 1 when one is not the disk that the others
are, or comes up with a unit that failed; one that serves no page ends it. docs/disks.md says what
is booted.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.assembly import DISK
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.formats import write_format
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.machine import Drive
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.workbench import FOLDER
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

from .disk_boot import PATIENCE, Laid, baked, laid, serving
from .sheet import Machine as Host
from .sheet import bench_parser, show

RELEASES = ("bookworm", "trixie")
ROOTS = (("erofs", "uefi"), ("ext4", "bios"))
FORMATS = ("raw", "qcow2", "vmdk", "vhd", "tar.gz")
QEMU = {"qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vpc"}
"""What QEMU calls a format; the others are raw to it."""
CHECKED = ("qcow2", "vmdk")
"""What ``qemu-img check`` knows how to check."""


@dataclass(frozen=True, slots=True)
class Booted:
    """One disk in one format, and what was seen of it.

    :param wrong: what was not as it must be; empty when all was.
    """

    release: str
    root: str
    firmware: str
    format: str
    size: int
    seconds: float
    wrong: str = ""

    @property
    def line(self) -> str:
        """The row of the table."""
        checked = "no errors" if self.format in CHECKED else ""
        return (
            f"| {self.release} | {self.root} | {self.firmware} | {self.format}"
            f" | {self.size / (1 << 20):.0f} | {checked} | {self.seconds:.0f}"
            f" | {self.wrong or 'well'} |"
        )


def main(arguments: Sequence[str]) -> int:
    """Run the bench; return the exit status."""
    parser = bench_parser("disk_formats", __doc__, rounds=None)
    parser.add_argument(
        "--release", choices=RELEASES, action="append", help="boot this one alone (default: all)"
    )
    options = parser.parse_args(arguments)
    host = Host.now(("Docker Engine", Engine().facts().version))
    found = []
    for release in options.release or RELEASES:
        with tempfile.TemporaryDirectory(prefix="kiln-bench-") as scratch:
            for one in measure(Path(scratch), release):
                print(one.line, flush=True)
                found.append(one)
    lines = [
        *host.lines,
        "",
        "| release | root | by | format | MiB | `qemu-img check` | s to a page | |",
        "|---|---|---|---|---|---|---|---|",
        *(one.line for one in found),
    ]
    show("disk_formats", arguments, options.write, lines)
    return 1 if any(one.wrong for one in found) else 0


def measure(scratch: Path, release: str) -> Iterator[Booted]:
    """Boot the disks of one release."""
    with ExitStack() as stack:
        change = ("suite: bookworm", f"suite: {release}")
        (layout, image), spec = baked(stack, scratch, change)
        for root, firmware in ROOTS:
            of_kind = replace(spec, root=root, boot=firmware)
            with (
                laid(layout, image.layers, of_kind, image.manifest.digest) as disk,
                ThreadPoolExecutor(2) as both,
            ):
                problems = {form: written(disk, form) for form in FORMATS}
                for form, (seconds, failed) in zip(
                    FORMATS, both.map(lambda form, on=disk: booted(on, form), FORMATS), strict=True
                ):
                    units = f"failed: {' '.join(failed)}" if failed else ""
                    wrong = "; ".join(filter(None, (problems[form], units)))
                    size = disk.bench.size(_file(form))
                    yield Booted(release, root, firmware, form, size, seconds, wrong)


def written(disk: Laid, form: str) -> str:
    """Write *disk* in the format *form* as a bake would; return what is wrong with the file."""
    bench = disk.bench
    packed = bool(disk.made.root_hash)
    bench.feed(
        write_format(bench, disk.made, form, packed=packed), "sh", "-c", f"cat > {_file(form)}"
    )
    try:
        if form in CHECKED:
            bench.run("qemu-img", "check", "-f", QEMU[form], _file(form))
        if form in QEMU:
            bench.run("qemu-img", "compare", "-f", "raw", "-F", QEMU[form], DISK, _file(form))
        elif form == "raw":
            bench.run("cmp", DISK, _file(form))
        else:
            unpack = f"tar --extract --sparse --gzip --to-stdout --file={_file(form)}"
            bench.run("sh", "-c", f"{unpack} > {_unpacked(form)} && cmp {DISK} {_unpacked(form)}")
    except DriverError as error:
        return str(error)
    return ""


def booted(disk: Laid, form: str) -> tuple[float, tuple[str, ...]]:
    """Return how long *disk* takes to serve a page from *form*, and the units that failed."""
    drive = Drive(f"{FOLDER}/{_unpacked(form)}", QEMU.get(form, "raw"))
    with serving(disk, 8080, drive) as (seconds, machine):
        return seconds, machine.wait_until_ready(PATIENCE)


def _file(form: str) -> str:
    return f"given.{form}"


def _unpacked(form: str) -> str:
    """What QEMU is given: Google unpacks its archives too."""
    return "given.unpacked" if form == "tar.gz" else _file(form)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
