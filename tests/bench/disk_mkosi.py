# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures a disk beside mkosi's of the same release and packages, both with their caches warm.

    make bench BENCH=disk_mkosi

mkosi is Debian 13's, in a container. In each round the site that nginx serves has changed. It ends
with 1 when a promised figure was missed; docs/performance.md says what is measured.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.workbench import disk_spec
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import (
    Mount,
    Toolbox,
    ToolboxSpec,
    ensure_toolbox,
)

from .disk import NAME, bake, last_disk, lay_definition
from .sheet import Comparison, Machine, bench_parser, compared, show

LIMIT = 1.0
FOLDER = "/mkosi"
SERVED = "mkosi.extra/var/www/html"
PACKAGES = (
    "apt",
    "cpio",
    "cryptsetup-bin",
    "debian-archive-keyring",
    "dosfstools",
    "erofs-utils",
    "kmod",
    "mkosi",
    "mtools",
    "systemd-boot-efi",
    "systemd-repart",
    "systemd-ukify",
    "zstd",
)
STUB = "systemd-boot-efi"
"""What mkosi starts the kernel by comes out of the image."""

SETTINGS = """\
[Distribution]
Distribution=debian
Release=bookworm

[Output]
Format=disk
ImageId=web
OutputDirectory=output
ManifestFormat=json

[Content]
Bootable=yes
Bootloader=uki
WithDocs=no
Packages=
{packages}

[Build]
BuildSources=
CacheDirectory=cache
Incremental=yes
WorkspaceDirectory=workspace
"""
ESP = """\
[Partition]
Type=esp
Format=vfat
CopyFiles=/boot:/
CopyFiles=/efi:/
SizeMinBytes=128M
SizeMaxBytes=128M
"""
ROOT = """\
[Partition]
Type=root
Format=erofs
Compression=lz4
CopyFiles=/
Minimize=best
Verity=data
VerityMatchKey=root
"""
_POLICIES = ("apparmor", "seccomp")
HASHES = """\
[Partition]
Type=root-verity
Verity=hash
VerityMatchKey=root
Minimize=best
"""


@dataclass(slots=True)
class Figures:
    """Seconds of both sides by round, and what their last disks hold.

    :param sizes: bytes as qcow2, ours and theirs.
    """

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    sizes: tuple[int, int] = (0, 0)
    packages: tuple[int, int] = (0, 0)


def main(arguments: Sequence[str]) -> int:
    """Run the bench; return the exit status."""
    options = bench_parser("disk_mkosi", __doc__, rounds=3).parse_args(arguments)
    toolbox = ensure_toolbox(
        ToolboxSpec("bench-mkosi", PACKAGES), engine=Engine(), home=Home.at(None), say=print
    )
    version = toolbox.run(["mkosi", "--version"]).text.split()[-1]
    machine = Machine.now(("mkosi", version), ("Docker Engine", Engine().facts().version))
    with tempfile.TemporaryDirectory(prefix="kiln-bench-") as scratch:
        found = measure(Path(scratch), toolbox, options.rounds)
    case = Comparison("the site changed, all caches warm", found.ours, found.theirs, LIMIT)
    smaller = found.sizes[0] <= found.sizes[1]
    mib = [size / (1 << 20) for size in found.sizes]
    verdict = "met" if smaller else "missed"
    lines = [
        *compared(machine, options.rounds, [case], "kiln", "mkosi"),
        "",
        "| disk | kiln | mkosi | promised | |",
        "|---|---|---|---|---|",
        f"| as qcow2, MiB | {mib[0]:.1f} | {mib[1]:.1f} | not larger | {verdict} |",
        f"| packages | {found.packages[0]} | {found.packages[1]} | | |",
    ]
    show("disk_mkosi", arguments, options.write, lines)
    return 0 if case.met and smaller else 1


def measure(scratch: Path, toolbox: Toolbox, rounds: int) -> Figures:
    """Make both disks with each cache warm and another site, *rounds* times."""
    definition = lay_definition(scratch)
    site = scratch / "images" / "web-site"
    project = scratch / "mkosi"
    found = Figures()
    engine = Engine()
    try:
        bake(definition)
        packages, sources = our_packages()
        lay_project(project, packages, sources, site)
        build(toolbox, project)
        for number in range(1, rounds + 1):
            changed = f"{number} {time.time()}\n"
            (site / "round.html").write_text(changed, "utf-8")
            (project / SERVED / "round.html").write_text(changed, "utf-8")
            found.ours.append(bake(definition))
            found.theirs.append(build(toolbox, project))
        found.sizes = (last_disk("qcow2").stat().st_size, their_size(project))
        manifest = json.loads((project / "output" / "web.manifest").read_text("utf-8"))
        found.packages = (len(packages), len(manifest["packages"]))
    finally:
        for reference in engine.references(f"kiln/{NAME}:*"):
            engine.remove_image(reference)
        # What mkosi wrote is root's, and some of it another user's.
        toolbox.run(
            ["find", FOLDER, "-mindepth", "1", "-delete"],
            mounts=[Mount(str(project), FOLDER, read_only=False)],
        )
    return found


def our_packages() -> tuple[list[str], str]:
    """Return the packages of the version that was baked, and the sources that they come from."""
    (reference,) = Engine().references(f"kiln/{NAME}:*")
    ask = ["docker", "run", "--rm", "--network=none", "--entrypoint=sh", reference, "-c"]
    query = "dpkg-query --show --showformat='${Package}\\n'"
    packages = Engine().runner([*ask, query]).text.split()
    return packages, Engine().runner([*ask, "cat /etc/apt/sources.list.d/*.sources"]).text


def lay_project(project: Path, packages: Sequence[str], sources: str, site: Path) -> None:
    """Write mkosi's settings for a disk of *packages*, out of *sources*, that serves *site*."""
    shutil.copytree(site, project / SERVED)
    for name in ("cache", "output", "workspace", "mkosi.repart"):
        (project / name).mkdir()
    listed = "\n".join(f"  {package}" for package in (*packages, STUB))
    (project / "mkosi.conf").write_text(SETTINGS.format(packages=listed), "utf-8")
    # With a file of this name mkosi takes no sources of its own.
    archives = project / "mkosi.sandbox" / "etc" / "apt" / "sources.list.d" / "mkosi.sources"
    archives.parent.mkdir(parents=True)
    archives.write_text(f"{sources}\n", "utf-8")
    for name, text in (("00-esp", ESP), ("10-root", ROOT), ("20-verity", HASHES)):
        (project / "mkosi.repart" / f"{name}.conf").write_text(text, "utf-8")


def build(toolbox: Toolbox, project: Path) -> float:
    """Have mkosi build the disk anew; return how many seconds it took."""
    started = time.perf_counter()
    toolbox.run(
        ["mkosi", "--directory", FOLDER, "--force", "build"],
        mounts=[Mount(str(project), FOLDER, read_only=False)],
        network="host",
        # It makes name spaces and mounts of its own.
        options=["--cap-add=SYS_ADMIN", *(f"--security-opt={one}=unconfined" for one in _POLICIES)],
    )
    return time.perf_counter() - started


def their_size(project: Path) -> int:
    """Return the bytes of mkosi's disk as qcow2."""
    tools = ensure_toolbox(disk_spec(), engine=Engine(), home=Home.at(None))
    folder = Mount(str(project / "output"), FOLDER, read_only=False)
    convert = ["qemu-img", "convert", "-O", "qcow2", f"{FOLDER}/web.raw", f"{FOLDER}/web.qcow2"]
    tools.run(convert, mounts=[folder])
    return (project / "output" / "web.qcow2").stat().st_size


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
