# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks in the store: artefacts that a version's index lists beside its container image."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.artefact import (
    DiskArtefact,
    disks_of,
    store_disk,
    with_disks,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.formats import (
    vhd_footer,
    with_content_id,
    written_forms,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    Image,
    ImageConfig,
    read_image,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.references import closure
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.family import family


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.ensure()
    return layout


@pytest.fixture
def image(layout: Layout) -> Image:
    return write_image(layout, ImageConfig("amd64", 0), [])


def disk(layout: Layout, form: str = "qcow2") -> DiskArtefact:
    return store_disk(layout, [b"one", b"two"], form=form, name="web", size=4096, root_hash="ff")


def test_a_version_with_disks_has_still_one_container_image(layout: Layout, image: Image) -> None:
    whole = with_disks(layout, image, [disk(layout), disk(layout, "vhd")])

    assert read_image(layout, whole.index).manifest == image.manifest
    assert whole.index != image.index


def test_the_disks_of_a_version_are_found_again(layout: Layout, image: Image) -> None:
    disks = (disk(layout), disk(layout, "vhd"))

    assert disks_of(layout, with_disks(layout, image, disks).index) == disks
    assert disks_of(layout, image.index) == ()


def test_a_version_needs_its_disks(layout: Layout, image: Image) -> None:
    one = disk(layout)
    needed = closure(layout, with_disks(layout, image, [one]).index.digest)

    assert {one.manifest.digest, one.blob.digest} <= set(needed.sizes)


def test_a_registry_gets_the_disks_with_the_version(layout: Layout, image: Image) -> None:
    one = disk(layout)
    whole = family(with_disks(layout, image, [one]).index, layout.read)

    assert one.manifest.digest in {document.descriptor.digest for document in whole.documents}
    assert one.blob.digest in whole.blobs


def test_an_engine_finds_no_platform_of_its_own_in_a_disk(layout: Layout, image: Image) -> None:
    index = json.loads(layout.read(with_disks(layout, image, [disk(layout)]).index))
    (entry,) = [one for one in index["manifests"] if "artifactType" in one]

    assert entry["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert entry["artifactType"] == "application/vnd.kiln.disk.v1"


def test_a_disk_says_what_it_is(layout: Layout) -> None:
    one = disk(layout)
    document = json.loads(layout.read(one.manifest))

    assert document["layers"][0]["annotations"] == {"org.opencontainers.image.title": "web.qcow2"}
    assert document["annotations"] == {
        "io.kiln.disk.format": "qcow2",
        "io.kiln.disk.bytes": "4096",
        "io.kiln.disk.root-hash": "ff",
    }
    assert layout.read(one.blob) == b"onetwo"


def test_a_disk_is_the_same_from_its_record(layout: Layout) -> None:
    one = disk(layout)

    assert DiskArtefact.from_json(json.loads(json.dumps(one.as_json()))) == one


def test_a_part_is_found_again_with_its_partition(layout: Layout, image: Image) -> None:
    part = store_disk(
        layout, [b"r"], form="root", name="web", size=1, root_hash="ff", partition="4f-68"
    )

    assert disks_of(layout, with_disks(layout, image, [part]).index) == (part,)
    assert DiskArtefact.from_json(json.loads(json.dumps(part.as_json()))) == part
    assert part.partition == "4f-68"


def test_a_format_of_parts_is_written_as_each_of_them() -> None:
    assert written_forms(["raw", "sysupdate"]) == ("raw", "root", "verity", "efi")


def test_the_footer_of_a_vhd_adds_up() -> None:
    footer = vhd_footer(1 << 30, bytes(range(16)), 946_684_800 + 5)

    (checksum,) = struct.unpack_from(">I", footer, 64)
    others = footer[:64] + bytes(4) + footer[68:]
    assert len(footer) == 512
    assert footer[:8] == b"conectix"
    assert checksum == ~sum(others) & 0xFFFFFFFF
    assert struct.unpack_from(">I", footer, 24) == (5,)
    assert struct.unpack_from(">QQ", footer, 40) == (1 << 30, 1 << 30)
    # With which QEMU, too, takes all of the disk, and not the part that its geometry reaches.
    assert footer[28:32] == b"qem2"
    # As Microsoft's own tool has it for a disk of one gibibyte.
    assert struct.unpack_from(">HBB", footer, 56) == (2080, 16, 63)


@pytest.mark.parametrize("written", [b"12345678", b"1f", b"0"])
def test_a_vmdk_gets_its_content_id_and_nothing_behind_it_moves(written: bytes) -> None:
    text = b"# Disk DescriptorFile\nversion=1\nCID=" + written + b"\nparentCID=ffffffff\n"
    head = b"KDMV" + text + bytes(64) + b"grains"

    placed = with_content_id(head, b"0123abcd")

    assert len(placed) == len(head)
    assert placed.endswith(b"\0grains")
    assert b"\nCID=0123abcd\nparentCID=ffffffff\n\0" in placed
