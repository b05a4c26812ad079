# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks assembled for real, of a root of a few files: they repeat, hold what they must, and verify.

What starts here in the place of a kernel is systemd's stub, which is an EFI program too.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    DiskSlots,
    DiskSpec,
    DiskState,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.assembly import (
    DISK,
    Assembled,
    assemble,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.formats import write_format
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.making import store_forms
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.workbench import (
    Workbench,
    disk_spec,
    workbench,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import (
    Toolbox,
    ensure_toolbox,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.tree import Tree, read_tree

STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
FORMATS = ("raw", "qcow2", "vmdk", "vhd", "tar.gz")
QEMU = {"qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vpc"}
SEED = "sha256:" + "5e" * 32
EPOCH = 1_700_000_000
KINDS = {
    "verified": DiskSpec(FORMATS, state=DiskState(16 << 20)),
    "plain": DiskSpec(FORMATS, root="ext4", boot="bios", state=DiskState(16 << 20)),
}
NOISE = b"".join(hashlib.sha256(bytes([at % 251, at // 251])).digest() for at in range(16384))


@dataclass(frozen=True, slots=True)
class Made:
    """A disk on a bench, and the digest of each of its formats."""

    bench: Workbench
    disk: Assembled
    digests: dict[str, str]


@pytest.fixture(scope="module")
def toolbox() -> Toolbox:
    return ensure_toolbox(disk_spec(), engine=Engine(), home=Home.at(None))


@pytest.fixture(scope="module")
def tree(toolbox: Toolbox, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Return a root with all that a disk needs, and a file that may not be compressed away."""
    kernel = toolbox.run(["cat", STUB]).stdout
    files = {
        "boot/vmlinuz-6.1.0-1-amd64": kernel,
        "boot/initrd.img-6.1.0-1-amd64": b"initrd" * 1000,
        "etc/kernel/cmdline.d/60-kiln.conf": b"slab_nomerge\n",
        "usr/lib/os-release": b'ID=debian\nPRETTY_NAME="Debian"\n',
        "usr/share/noise": NOISE,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), 0o640, EPOCH - 60
            archive.addfile(info, io.BytesIO(content))
    layout = Layout(tmp_path_factory.mktemp("store"))
    layout.ensure()
    layer = store_layer(layout, [buffer.getvalue()])
    assert layer is not None
    return read_tree(layout, [layer])


def make(bench: Workbench, tree: Tree, spec: DiskSpec) -> Made:
    disk = assemble(bench, tree, spec, image="it", seed=SEED, architecture="amd64")
    digests = {
        form: digest(write_format(bench, disk, form, packed=spec.root == "erofs"))
        for form in FORMATS
    }
    return Made(bench, disk, digests)


@pytest.fixture(scope="module", params=KINDS)
def made(toolbox: Toolbox, tree: Tree, request: pytest.FixtureRequest) -> Iterator[Made]:
    """Return a disk of either kind of root, in all formats."""
    session = uuid.uuid4().hex[:8]
    with workbench(toolbox, name="test", session=session, epoch=EPOCH) as bench:
        yield make(bench, tree, KINDS[request.param])


def digest(chunks: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()


def verified(made: Made) -> bool:
    return bool(made.disk.root_hash)


def test_the_table_is_sound_and_as_planned(made: Made) -> None:
    said = made.bench.run("sfdisk", "--verify", DISK).text
    dumped = made.bench.run("sfdisk", "--dump", DISK).text

    assert "No errors detected" in said
    for placed in made.disk.table.partitions:
        assert str(placed.part.id).upper() in dumped
        assert f'name="{placed.part.name}"' in dumped


def test_each_format_holds_the_same_disk(made: Made) -> None:
    for form, name in QEMU.items():
        chunks = write_format(made.bench, made.disk, form, packed=verified(made))
        made.bench.feed(chunks, "sh", "-c", "cat > given")
        made.bench.run("qemu-img", "compare", "-f", "raw", "-F", name, DISK, "given")
        if form != "vhd":
            made.bench.run("qemu-img", "check", "-f", name, "given")
    made.bench.run("sh", "-c", f"tar --extract --to-stdout --gzip < disk.tar.gz | cmp - {DISK}")


def test_the_root_holds_the_files_with_their_modes_and_times(made: Made) -> None:
    if verified(made):
        made.bench.run("fsck.erofs", "--extract=root", "--preserve", "root.img")
    else:
        made.bench.run("e2fsck", "-fn", "root.img")
        made.bench.run("mkdir", "root")
        made.bench.run("debugfs", "-R", "rdump /usr root", "root.img")

    file = "root/usr/share/noise"
    assert digest(made.bench.read(file)) == hashlib.sha256(NOISE).hexdigest()
    assert made.bench.run("stat", "--format=%a %Y", file).text == f"640 {EPOCH - 60}"


def test_what_boots_it_is_in_its_place(made: Made) -> None:
    if verified(made):
        target = "::/EFI/BOOT/BOOTX64.EFI"
        made.bench.run("mcopy", "-n", "-i", "esp.img", target, "booted.efi")
        said = made.bench.run("ukify", "inspect", "booted.efi").text
        assert f"roothash={made.disk.root_hash} rootfstype=erofs" in said
        assert "slab_nomerge" in said
    else:
        head = made.bench.run("head", "--bytes=512", DISK).stdout
        core = made.disk.table.named("bios").first_sector
        assert int.from_bytes(head[0x5C:0x64], "little") == core
        # Behind GRUB's code comes the protective table, which ends the sector.
        assert head[510:] == b"\x55\xaa"
        made.bench.run("cmp", "core.img", DISK, "0", str(core * 512), "--bytes=512")


def test_a_byte_of_a_verified_root_that_was_changed_is_noticed(made: Made) -> None:
    if not verified(made):
        assert "roothash" not in made.disk.command_line
        return
    verify = ("veritysetup", "verify", "root.img", "verity.img", made.disk.root_hash)
    made.bench.run(*verify)
    made.bench.run("cp", "root.img", "kept.img")
    forge = ("dd", "of=root.img", "bs=1", "seek=100000", "conv=notrunc", "status=none")
    made.bench.run(*forge, stdin=b"forged")

    with pytest.raises(DriverError, match="veritysetup"):
        made.bench.run(*verify)
    made.bench.run("mv", "kept.img", "root.img")


def test_each_format_is_the_same_bytes_when_it_is_made_again(
    made: Made, toolbox: Toolbox, tree: Tree
) -> None:
    spec = KINDS["verified" if verified(made) else "plain"]
    session = uuid.uuid4().hex[:8]
    with workbench(toolbox, name="again", session=session, epoch=EPOCH) as bench:
        again = make(bench, tree, spec)

    assert again.digests == made.digests
    assert again.disk == made.disk


def test_a_disk_with_slots_and_its_parts_repeat_and_say_their_version(
    toolbox: Toolbox, tree: Tree, tmp_path: Path
) -> None:
    spec = DiskSpec(("raw", "sysupdate"), slots=DiskSlots(tries=2))
    layout = Layout(tmp_path)
    layout.ensure()
    made = []
    with workbench(toolbox, name="slots", session=uuid.uuid4().hex[:8], epoch=EPOCH) as bench:
        for _time in range(2):
            laid = assemble(
                bench, tree, spec, image="it", seed=SEED, architecture="amd64", version="1.0.7"
            )
            made.append(store_forms(layout, bench, laid, spec, "it"))
        table = bench.run("sfdisk", "--dump", DISK).text
        files = bench.run("mdir", "-/", "-b", "-i", "esp.img", "::/").text.split()
        kernel_says = bench.run("ukify", "inspect", "kernel.efi").text
        bench.run("veritysetup", "verify", "root.img", "verity.img", laid.root_hash)
        bench.run("fsck.erofs", "--extract=root", "root.img")
        inside = bench.run("cat", "root/usr/lib/os-release").text

    assert made[0] == made[1]
    disk, root, verity, kernel = made[0]
    assert root.partition.replace("-", "") == laid.root_hash[:32]
    assert verity.partition.replace("-", "") == laid.root_hash[-32:]
    assert [disk.format, kernel.format, kernel.partition] == ["raw", "efi", ""]
    assert re.findall(r'name="(.*?)"', table) == ["esp", *["it_1.0.7"] * 2, *["_empty"] * 2]
    assert {"::/EFI/BOOT/BOOTX64.EFI", "::/EFI/Linux/it_1.0.7+2.efi", "::/loader/loader.conf"} <= {
        *files
    }
    for said in (kernel_says, inside):
        words = {line.strip() for line in said.splitlines()}
        assert {"ID=debian", "IMAGE_ID=it", "IMAGE_VERSION=1.0.7"} <= words
