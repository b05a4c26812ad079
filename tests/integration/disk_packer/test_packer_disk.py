# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packer goes on with a disk of ours, by roles of ours: file by file it makes what a bake makes."""

from __future__ import annotations

import fnmatch
import re
import shutil
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.artefact import disks_of
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.workbench import (
    Workbench,
    disk_spec,
    workbench,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import Cache
from ansible_collections.kiln.immutable.plugins.module_utils.build.residue import INVISIBLE
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import ensure_toolbox
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import (
    INDEX,
    Descriptor,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import read_image
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.listing import EntryType
from ansible_collections.kiln.immutable.plugins.module_utils.oci.tree import read_tree
from ansible_collections.kiln.immutable.tests.integration.disk_packer.packer_run import run_packer

IMAGES = Path(__file__).parent / "images"
SOURCE, TWIN = "vm-source", "vm-twin"
BAKE_SECONDS = 900
# A path's mode, owner, group, and the digest, target or kind of what it is.
File = tuple[str, int, int, str]

# In what else a machine that ran differs from a root that never did.
OF_THE_RUN = {
    "lost+found": "every ext4 has one",
    "etc/resolv.conf": "a link to what systemd-resolved knows; made at each boot, not by a bake",
}


@pytest.fixture(scope="module")
def baked(checkout: Path) -> Iterator[Layout]:
    """Bake the disk that Packer begins with, and what is to come of it; return the store."""
    program = Path(sys.executable).with_name("ansible-playbook")
    argv = [sys.executable, str(program), "-i", "localhost,", str(checkout / "playbooks/bake.yml")]
    done = subprocess.run(
        [*argv, "-e", f"kiln_images={IMAGES}"],
        capture_output=True,
        text=True,
        timeout=BAKE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    yield Layout(Home.at(None).store)
    engine = Engine()
    for name in (TWIN, SOURCE):
        for reference in engine.references(f"kiln/{name}:*"):
            engine.remove_image(reference)


def newest(layout: Layout, name: str) -> Descriptor:
    """Return the last version of the image *name*."""
    record = Cache(Home.at(None).cache, layout).latest(name)
    assert record is not None
    return Descriptor(INDEX, record.index, layout.path(record.index).stat().st_size)


@pytest.fixture(scope="module")
def bench(baked: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """Return a bench with Packer's disk, its root, and the files of that in the folder ``root``."""
    folder = tmp_path_factory.mktemp("packer")
    (disk,) = disks_of(baked, newest(baked, SOURCE))
    source = folder / "source.qcow2"
    shutil.copyfile(baked.path(disk.blob.digest), source)
    made = run_packer(folder / "run", source)
    toolbox = ensure_toolbox(disk_spec(), engine=Engine(), home=Home.at(None))
    with workbench(toolbox, name="packer", session=uuid.uuid4().hex[:8], epoch=0) as it:
        with made.open("rb") as stream:
            it.feed(iter(lambda: stream.read(1 << 20), b""), "sh", "-c", "cat > disk.qcow2")
        it.run("qemu-img", "check", "-q", "disk.qcow2")
        it.run("qemu-img", "convert", "-O", "raw", "disk.qcow2", "disk.raw")
        table = it.run("sfdisk", "--dump", "disk.raw").text
        found = re.search(r'start= *(\d+), size= *(\d+),.*name="root"', table)
        assert found is not None, table
        skip, count = (int(sectors) * 512 for sectors in found.groups())
        place = (f"skip={skip}", f"count={count}", "iflag=skip_bytes,count_bytes", "bs=1M")
        it.run("dd", "if=disk.raw", "of=root.img", "conv=sparse", "status=none", *place)
        it.run("rm", "disk.raw", "disk.qcow2")
        it.run("mkdir", "root")
        it.run("debugfs", "-R", "rdump / root", "root.img")
        yield it


def listed(bench: Workbench) -> Mapping[str, File]:
    """Return what is in the root of Packer's disk.

    By the file system itself, because what debugfs copies loses part of its mode.
    """
    in_root = ("sh", "-c")
    hashed = bench.run(*in_root, "cd root && find . -type f -print0 | xargs -0 sha256sum --zero")
    contents = {
        line[66:].removeprefix("./"): line[:64] for line in hashed.stdout.decode().split("\0")
    }
    found = bench.run(*in_root, r"cd root && find . -type l -printf '%P\0%l\0'")
    words = found.stdout.decode().split("\0")
    contents |= dict(zip(words[::2], words[1::2], strict=False))
    folders = bench.run(*in_root, r"cd root && find . -type d -printf '%P\n'").text.splitlines()
    bench.write("ask", "".join(f'ls -p "/{folder}"\n' for folder in folders).encode())
    said = bench.run("env", "DEBUGFS_PAGER=__none__", "debugfs", "-f", "ask", "root.img").stdout
    files: dict[str, File] = {}
    folder = ""
    for line in said.decode().splitlines():
        if asked := re.fullmatch(r'debugfs: ls -p "/(.*)"', line):
            folder = asked.group(1) + "/" if asked.group(1) else ""
        elif entry := re.fullmatch(r"/[1-9]\d*/(\d+)/(\d+)/(\d+)/([^/]+)/\d*/", line):
            said_mode, uid, gid, name = entry.groups()
            if name not in (".", ".."):
                mode = int(said_mode, 8)
                shown = "" if stat.S_ISLNK(mode) else f"{stat.S_IMODE(mode):o}"
                path = folder + name
                files[path] = (shown, int(uid), int(gid), contents.get(path, "d"))
    return files


def baked_files(layout: Layout) -> Mapping[str, File]:
    """Return what is in the root that a bake of the same roles made."""
    tree = read_tree(layout, read_image(layout, newest(layout, TWIN)).layers)
    return {
        path: (
            "" if entry.type is EntryType.SYMLINK else f"{entry.mode:o}",
            entry.uid,
            entry.gid,
            (entry.digest or "").removeprefix("sha256:") or entry.link or "d",
        )
        for path, entry in tree.entries.items()
        if path
    }


def of_the_run(path: str) -> bool:
    return any(fnmatch.fnmatchcase(path, one) for one in (*INVISIBLE, *OF_THE_RUN))


def test_packer_s_root_is_file_by_file_what_the_bake_makes(bench: Workbench, baked: Layout) -> None:
    ours, theirs = baked_files(baked), listed(bench)

    different = {
        path: (ours.get(path), theirs.get(path))
        for path in sorted(ours.keys() | theirs.keys())
        if ours.get(path) != theirs.get(path) and not of_the_run(path)
    }

    assert len(ours) > 5000
    assert different == {}


def test_packer_s_roles_changed_what_the_disk_began_with(bench: Workbench) -> None:
    said = bench.run("cat", "root/etc/ssh/sshd_config").text

    assert re.search(r"(?m)^KexAlgorithms sntrup761", said)
    assert bench.run("find", "root/etc/systemd/system", "-name", "*.conf").text


def test_the_disk_is_sound_and_its_root_fills_it(bench: Workbench) -> None:
    bench.run("e2fsck", "-fn", "root.img")

    assert bench.size("root.img") > 3 << 30


def test_nobody_of_the_build_is_left_and_the_machine_has_no_identity(bench: Workbench) -> None:
    assert "admin" not in bench.run("cat", "root/etc/passwd", "root/etc/group").text
    assert bench.run("cat", "root/etc/machine-id").text == ""
    assert bench.run("find", "root/etc/ssh", "root/var/lib/ssh", "-name", "*_key*").text == ""
    assert bench.run("find", "root/home", "-mindepth", "1").text == ""
    assert bench.run("find", "root/var/lib/systemd", "-name", "random-seed").text == ""
