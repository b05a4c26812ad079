# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks, for real: they repeat, boot, cannot be written or forged, and keep their state."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.assembly import (
    DISK,
    Assembled,
    assemble,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.formats import write_format
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.machine import (
    Drive,
    Machine,
    MachineSpec,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.workbench import (
    FOLDER,
    Workbench,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.waiting import wait_for
from ansible_collections.kiln.immutable.plugins.module_utils.oci.tree import read_tree
from ansible_collections.kiln.immutable.tests.integration.disk.conftest import Baked, Rack

UP = 600  # seconds that a machine may take to come up
STATE = Drive(f"{FOLDER}/state.raw", serial="state", lasts=True)
QEMU = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vpc"}


@pytest.fixture(scope="module")
def assembled(baked: dict[str, Baked], bench: Workbench) -> Assembled:
    """Assemble the disk of disk-bookworm a second time, from the store alone."""
    one = baked["disk-bookworm"]
    spec = one.definition.disk
    assert spec is not None
    return assemble(
        bench,
        read_tree(one.layout, one.image.layers),
        spec,
        image="disk-bookworm",
        seed=one.image.manifest.digest,
        architecture="amd64",
    )


def digest(chunks: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return f"sha256:{found.hexdigest()}"


def told(machine: Machine) -> dict[str, str]:
    """Return what the role teller had the machine say."""
    return dict(re.findall(r"(?m)^tell: (\S+) (.*?)\s*$", machine.console))


def test_each_format_is_the_same_bytes_when_it_is_made_again(
    baked: dict[str, Baked], bench: Workbench, assembled: Assembled
) -> None:
    disks = baked["disk-bookworm"].disks

    made = {form: digest(write_format(bench, assembled, form, packed=True)) for form in disks}

    assert set(disks) == {"raw", "qcow2", "vmdk", "vhd", "tar.gz"}
    assert made == {form: disk.blob.digest for form, disk in disks.items()}


def test_each_format_holds_the_same_disk(
    baked: dict[str, Baked], bench: Workbench, assembled: Assembled
) -> None:
    one = baked["disk-bookworm"]
    for form, name in QEMU.items():
        with one.layout.open(one.disks[form].blob) as stream:
            bench.feed(iter(lambda: stream.read(1 << 20), b""), "tee", "given", "--output-error")
        bench.run("qemu-img", "compare", "-f", "raw", "-F", name, DISK, "given")
        if form in ("qcow2", "vmdk"):
            bench.run("qemu-img", "check", "-f", name, "given")
    with one.layout.open(one.disks["tar.gz"].blob) as stream:
        chunks = iter(lambda: stream.read(1 << 20), b"")
        bench.feed(chunks, "sh", "-c", f"tar --extract --gzip --to-stdout | cmp - {DISK}")
    bench.run("rm", "given")


def test_state_outlasts_a_change_of_version_and_the_root_cannot_be_written(
    baked: dict[str, Baked], bench: Workbench, assembled: Assembled, rack: Rack
) -> None:
    bench.run("truncate", "--size=64M", "state.raw")
    next_one = baked["disk-trixie"]
    with next_one.layout.open(next_one.disks["qcow2"].blob) as stream:
        chunks = iter(lambda: stream.read(1 << 20), b"")
        bench.feed(chunks, "sh", "-c", "cat > next.qcow2")

    said = []
    for drive in (Drive(f"{FOLDER}/{DISK}"), Drive(f"{FOLDER}/next.qcow2", "qcow2")):
        with rack.boot(MachineSpec((drive, STATE))) as machine:
            assert machine.wait_until_ready(UP) == (), machine.console
            said.append(told(machine))
            machine.shut_down()

    assert [one["release"] for one in said] == ["bookworm", "trixie"]
    assert [one["boots"] for one in said] == ["1", "2"]
    assert said[0]["machine-id"] == said[1]["machine-id"]
    assert re.fullmatch("[0-9a-f]{32}", said[0]["machine-id"])
    for one in said:
        assert (one["root-writable"], one["root-remountable"]) == ("no", "no")
        assert (one["etc-writable"], one["address"]) == ("yes", "1")


def test_a_byte_of_the_root_that_was_changed_stops_the_machine(
    bench: Workbench, assembled: Assembled, rack: Rack
) -> None:
    bench.run("cp", "--sparse=always", DISK, "forged.raw")
    # The superblock of the root's file system, which is read first of all.
    at = assembled.table.named("root").start + 1024 + 64
    forge = ["dd", "of=forged.raw", "bs=1", f"seek={at}", "conv=notrunc", "status=none"]
    bench.run(*forge, stdin=b"\xff")

    with rack.boot(MachineSpec((Drive(f"{FOLDER}/forged.raw"), STATE))) as machine:
        caught = wait_for(
            "the machine to notice",
            lambda: re.search(r"device-mapper: verity: .*corrupted", machine.console),
            timeout=UP,
        )
        stopped = wait_for(
            "the machine to stop",
            lambda: re.search("Kernel panic|kiln-ready", machine.console),
            timeout=UP,
        )

    assert caught is not None
    assert stopped.group() == "Kernel panic"


def test_a_disk_for_bios_came_up_before_it_became_a_version(
    baked: dict[str, Baked], home: object
) -> None:
    one = baked["disk-bios"]

    assert one.definition.disk is not None
    assert one.definition.disk.boot == "bios"
    assert set(one.disks) == {"qcow2"}
