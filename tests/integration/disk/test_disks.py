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
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.workbench import Workbench
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.tree import read_tree
from ansible_collections.kiln.immutable.tests.integration.disk.conftest import Baked

QEMU = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vpc"}


@pytest.fixture(scope="module")
def assembled(baked: Baked, bench: Workbench) -> Assembled:
    """Assemble the disk of disk-bookworm a second time, from the store alone."""
    spec = baked.definition.disk
    assert spec is not None
    return assemble(
        bench,
        read_tree(baked.layout, baked.image.layers),
        spec,
        image="disk-bookworm",
        seed=baked.image.manifest.digest,
        architecture="amd64",
    )


def digest(chunks: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return f"sha256:{found.hexdigest()}"


def test_each_format_is_the_same_bytes_when_it_is_made_again(
    baked: Baked, bench: Workbench, assembled: Assembled
) -> None:
    disks = baked.disks

    made = {form: digest(write_format(bench, assembled, form, packed=True)) for form in disks}

    assert set(disks) == {"raw", "qcow2", "vmdk", "vhd", "tar.gz"}
    assert made == {form: disk.blob.digest for form, disk in disks.items()}


def test_each_format_holds_the_same_disk(
    baked: Baked, bench: Workbench, assembled: Assembled
) -> None:
    for form, name in QEMU.items():
        with baked.layout.open(baked.disks[form].blob) as stream:
            bench.feed(iter(lambda: stream.read(1 << 20), b""), "tee", "given", "--output-error")
        bench.run("qemu-img", "compare", "-f", "raw", "-F", name, DISK, "given")
        if form in ("qcow2", "vmdk"):
            bench.run("qemu-img", "check", "-f", name, "given")
    with baked.layout.open(baked.disks["tar.gz"].blob) as stream:
        chunks = iter(lambda: stream.read(1 << 20), b"")
        bench.feed(chunks, "sh", "-c", f"tar --extract --gzip --to-stdout | cmp - {DISK}")
    bench.run("rm", "given")


def test_the_machine_came_up_with_a_root_that_cannot_be_written(console: str) -> None:
    told = dict(re.findall(r"(?m)^tell: (\S+) (.*?)\s*$", console))

    assert told["release"] == "bookworm"
    assert (told["root-writable"], told["root-remountable"]) == ("no", "no")
    assert (told["etc-writable"], told["address"]) == ("yes", "1")
    # The state's file system was mounted, and the identity that is kept on it made.
    assert told["boots"] == "1"
    assert re.fullmatch("[0-9a-f]{32}", told["machine-id"])
    assert "Power down" in console


def test_a_byte_of_the_root_that_was_changed_is_noticed(
    bench: Workbench, assembled: Assembled
) -> None:
    verify = ("veritysetup", "verify", "root.img", "verity.img", assembled.root_hash)
    bench.run(*verify)

    forge = ["dd", "of=root.img", "bs=1", "seek=4096000", "conv=notrunc", "status=none"]
    bench.run(*forge, stdin=b"forged")

    with pytest.raises(DriverError, match="veritysetup"):
        bench.run(*verify)
