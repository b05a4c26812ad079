# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk put together from an image's layers, without root, loop devices or a booted machine.

Each file system is made as a file and copied to its place. All ids and salts come from the image's
digest and all times from its own, so that the same image gives the same bytes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from ...core.errors import DriverError
from ...oci.tree import Tree
from ..definition_model import DiskSpec
from . import grub, root_merge
from .boot_files import STATE_LABEL, BootFiles, command_line, find_boot_files
from .identity import Identity, verity_uuids
from .partitions import (
    BIOS_BOOT,
    ESP,
    LINUX,
    ROOT,
    ROOT_VERITY,
    Part,
    Table,
    plan_table,
    round_up,
)
from .root_tar import Kept, merging, root_bytes
from .slots import (
    LOADER,
    LOADER_CONFIG,
    Release,
    room_of_esp,
    room_of_root,
    room_of_verity,
    slot_parts,
)
from .workbench import Workbench

DISK = "disk.raw"
_KERNEL, _INITRD, _RELEASE = "linux", "initrd", "os-release"
_MIB = 1 << 20
_LEAST_FAT32 = 34 * _MIB
_ROOT_HASH = re.compile(r"Root hash:\s*([0-9a-f]{64})")
_FALLBACK = {"amd64": "BOOTX64.EFI", "arm64": "BOOTAA64.EFI"}
_MACHINE = {"amd64": "x64", "arm64": "aa64"}
# A corrupted root must not limp along: what cannot be verified stops the machine.
_VERIFIED = "systemd.verity_root_options=panic-on-corruption"

# Before a tool, it gives that the tar.
_MERGE = ("python3", "-I", "-c", inspect.getsource(root_merge))


@dataclass(frozen=True, slots=True)
class Assembled:
    """A disk that lies on the workbench as ``disk.raw``.

    :param root_hash: of dm-verity; empty for a root that is not verified.
    :param command_line: what its kernel is told.
    """

    table: Table
    root_hash: str
    command_line: str
    kernel: str


@dataclass(frozen=True, slots=True)
class _Source:
    tree: Tree
    spec: DiskSpec
    identity: Identity
    architecture: str
    files: BootFiles
    release: Release


def assemble(
    bench: Workbench,
    tree: Tree,
    spec: DiskSpec,
    *,
    image: str,
    seed: str,
    architecture: str,
    version: str = "",
) -> Assembled:
    """Lay the disk out on *bench*.

    :param image: its name.
    :param seed: digest of the image, from which all ids come.
    :param version: its number, which a disk with slots bears.

    Raises DriverError for an image that cannot boot, or does not fit.
    """
    if architecture not in ROOT:
        raise DriverError(f"Disks are not made for {architecture}.")
    files = find_boot_files(tree.entries.keys(), image)
    release = Release(image, version)
    source = _Source(tree, spec, Identity(seed), architecture, files, release)
    rewritten = {}
    if spec.slots is not None:
        rewritten[files.os_release] = release.named_in(tree.read(files.os_release))
    kept = Kept(_kept_names(files), rewritten)
    if spec.root == "erofs":
        parts, words, root_hash = _verified_root(bench, source, kept)
    else:
        parts, words = _plain_root(bench, source, kept)
        root_hash = ""
    options = {path: bench.run("cat", kept.names[path]).stdout for path in files.options}
    said = command_line(spec, words, options)
    if spec.boot == "uefi":
        first = [_system_partition(bench, source, said)]
        if spec.slots is not None:
            # Now that what is in the first slot is known, as much room again.
            sizes = room_of_root(spec.slots, parts[0].size)
            root = replace(parts[0], size=sizes)
            verity = replace(parts[1], size=room_of_verity(sizes))
            parts = slot_parts(source.identity, architecture, root, verity, release)
    else:
        first = [Part("bios", BIOS_BOOT, source.identity.uuid("bios"), _MIB, blank=True)]
    last = [_state(bench, source)] if spec.state is not None and not spec.state.device else []
    grows = last[0].name if last else "root" if spec.writable else ""
    table = plan_table(
        source.identity.uuid("disk"), [*first, *parts, *last], spec.size, grows=grows
    )
    _compose(bench, table)
    if spec.boot == "bios":
        _boot_by_grub(bench, source, table, said)
    return Assembled(table, root_hash, said, files.release)


def _kept_names(files: BootFiles) -> dict[str, str]:
    """What the files that boot the image are called on the bench, by path."""
    options = {path: f"options-{number}" for number, path in enumerate(files.options)}
    return {files.kernel: _KERNEL, files.initrd: _INITRD, files.os_release: _RELEASE, **options}


def _stays_out(files: BootFiles) -> Collection[str]:
    """What a unified kernel image brings along need not be in the root a second time."""
    return (files.kernel, files.initrd, f"boot/System.map-{files.release}")


def _verified_root(
    bench: Workbench, source: _Source, kept: Kept
) -> tuple[list[Part], list[str], str]:
    identity, out = source.identity, _stays_out(source.files)
    # Larger pieces are compressed better, and sooner.
    make = ["mkfs.erofs", "--quiet", "--tar=f", "-zlz4", "-C65536"]
    bench.feed(
        merging(source.tree, leaves_out=out.__contains__, kept=kept),
        *_MERGE,
        *make,
        f"-T{bench.epoch}",
        "--mkfs-time",
        "-U",
        str(identity.uuid("root")),
        "root.img",
    )
    salt = ["--salt", identity.bytes("salt").hex(), "--uuid", str(identity.uuid("verity"))]
    said = bench.run("veritysetup", "format", *salt, "root.img", "verity.img").text
    found = _ROOT_HASH.search(said)
    if found is None:
        raise DriverError(f"veritysetup gave no root hash: {said}")
    root_hash = found.group(1)
    root_id, verity_id = verity_uuids(root_hash)
    parts = [
        Part("root", ROOT[source.architecture], root_id, bench.size("root.img")),
        Part("verity", ROOT_VERITY[source.architecture], verity_id, bench.size("verity.img")),
    ]
    return parts, [f"roothash={root_hash}", "rootfstype=erofs", _VERIFIED], root_hash


def _plain_root(bench: Workbench, source: _Source, kept: Kept) -> tuple[list[Part], list[str]]:
    out = _stays_out(source.files) if source.spec.boot == "uefi" else ()
    size, names = root_bytes(source.tree, lambda path: path in out)
    # Room for the file system's own tables, and a tenth to spare.
    length = round_up(size + size // 8 + names * 512 + 32 * _MIB, _MIB)
    _make_ext4(
        bench,
        source,
        "root",
        length,
        "-d",
        "-",
        feed=merging(source.tree, leaves_out=out.__contains__, kept=kept),
    )
    part_id = source.identity.uuid("root-partition")
    words = [f"root=PARTUUID={part_id}", "rootfstype=ext4"]
    return [Part("root", ROOT[source.architecture], part_id, length)], words


def _state(bench: Workbench, source: _Source) -> Part:
    state = source.spec.state
    size = state.size if state is not None else 0
    _make_ext4(bench, source, "state", size, "-L", STATE_LABEL)
    return Part("state", LINUX, source.identity.uuid("state-partition"), size)


def _make_ext4(
    bench: Workbench,
    source: _Source,
    name: str,
    size: int,
    *more: str,
    feed: Iterator[bytes] | None = None,
) -> None:
    identity = source.identity
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-U", str(identity.uuid(name))]
    command += ["-E", f"hash_seed={identity.uuid(name + '-hash')},lazy_itable_init=0"]
    command += [*more, f"{name}.img", f"{size // 1024}k"]
    # What an older file holds would stay in the blocks that nothing is written to.
    bench.run("rm", "-f", f"{name}.img")
    if feed is None:
        bench.run(*command)
    else:
        bench.feed(feed, *_MERGE, *command)


def _system_partition(bench: Workbench, source: _Source, said: str) -> Part:
    """Make the EFI system partition: one file, which is kernel, initrd and command line.

    With slots there is a boot loader before it, which chooses among several such files.
    """
    files = source.files
    build = ["ukify", "build", f"--linux={_KERNEL}", f"--initrd={_INITRD}"]
    build.append(f"--os-release=@{_RELEASE}")
    bench.run(*build, f"--uname={files.release}", f"--cmdline={said}", "--output=kernel.efi")
    needed = bench.size("kernel.efi")
    fallback = f"::/EFI/BOOT/{_FALLBACK[source.architecture]}"
    folders, copies = ["::/EFI", "::/EFI/BOOT"], {"kernel.efi": fallback}
    size = max(_LEAST_FAT32, round_up(needed + needed // 32 + 2 * _MIB, _MIB))
    slots = source.spec.slots
    if slots is not None:
        loader = LOADER.format(machine=_MACHINE[source.architecture])
        bench.run("cp", loader, "loader.efi")
        bench.write("loader.conf", LOADER_CONFIG)
        size = room_of_esp(slots, needed, bench.size("loader.efi"))
        folders += ["::/EFI/Linux", "::/loader"]
        copies = {
            "loader.efi": fallback,
            "loader.conf": "::/loader/loader.conf",
            "kernel.efi": f"::/EFI/Linux/{source.release.kernel(slots.tries)}",
        }
    volume = source.identity.volume_id("esp")
    bench.run("rm", "-f", "esp.img")
    make = ["mkfs.vfat", "--invariant", "-F", "32", "-n", "ESP", "-i", volume, "-C"]
    bench.run(*make, "esp.img", str(size // 1024))
    bench.run("mmd", "-i", "esp.img", *folders)
    bench.run("touch", f"--date=@{bench.epoch}", *copies)
    for name, target in copies.items():
        bench.run("mcopy", "-m", "-i", "esp.img", name, target)
    return Part("esp", ESP, source.identity.uuid("esp-partition"), size)


def _compose(bench: Workbench, table: Table) -> None:
    """Write the table and copy each file system to its place; blocks of zeros stay holes."""
    bench.run("rm", "-f", DISK)
    bench.run("truncate", f"--size={table.size}", DISK)
    bench.run(
        "sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", DISK, stdin=table.script.encode()
    )
    for placed in table.partitions:
        if not placed.part.blank:
            copy = ["dd", "bs=1M", "conv=notrunc,sparse", "status=none", f"of={DISK}"]
            bench.run(*copy, f"if={placed.part.name}.img", f"seek={placed.start // _MIB}")


def _boot_by_grub(bench: Workbench, source: _Source, table: Table, said: str) -> None:
    """Put GRUB's first sector and its core into the disk, as grub-bios-setup would."""
    config = grub.config(source.files, str(source.identity.uuid("root")), said, source.spec.console)
    bench.write("grub.cfg", config.encode())
    make = ["grub-mkimage", "-O", "i386-pc", "-p", "/boot/grub", "-c", "grub.cfg"]
    bench.run(*make, "-o", "core.img", *grub.MODULES)
    start = table.named("bios").first_sector
    core = b"".join(bench.read("core.img"))
    head = b"".join(bench.read("/usr/lib/grub/i386-pc/boot.img"))
    bench.write("core.img", grub.placed_core(core, start))
    bench.write("head.img", grub.placed_head(head, start))
    copy = ["dd", "conv=notrunc", "status=none", f"of={DISK}"]
    bench.run(*copy, "if=head.img", "bs=1")
    bench.run(*copy, "if=core.img", "bs=512", f"seek={start}")
