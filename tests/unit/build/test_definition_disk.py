# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``disk`` of a definition."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import (
    DiskSpec,
    DiskState,
    load,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    DiskSlots,
    DiskTests,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.sealing import config_manifest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

HEAD = "base:\n  debootstrap: {suite: bookworm}\nkind: vm\n"


def written(folder: Path, text: str, head: str = HEAD) -> Path:
    path = folder / "app.yml"
    path.write_text(head + text)
    return path


def test_formats_are_all_that_a_disk_must_say(tmp_path: Path) -> None:
    disk = load(written(tmp_path, "disk: {formats: [qcow2, raw]}\n")).disk

    assert disk == DiskSpec(
        formats=("qcow2", "raw"),
        size=0,
        root="erofs",
        boot="uefi",
        state=None,
        command_line=(),
        console="ttyS0,115200",
        provision="plain",
        boot_test=600,
        tests=None,
        slots=None,
    )


def test_a_disk_may_have_room_for_a_second_version(tmp_path: Path) -> None:
    usual = "disk: {formats: [raw, sysupdate], slots: {}}\n"
    asked = "disk:\n  formats: [raw]\n  slots: {size: 1GiB, esp: 256MiB, tries: 5}\n"

    disks = [load(written(tmp_path, text)).disk for text in (usual, asked)]

    assert [disk and disk.slots for disk in disks] == [
        DiskSlots(0, 0, 3),
        DiskSlots(1 << 30, 256 << 20, 5),
    ]


def test_a_root_of_ext4_may_be_the_machine_s_own(tmp_path: Path) -> None:
    text = "disk: {formats: [qcow2], root: ext4, writable: true}\n"

    disk = load(written(tmp_path, text)).disk

    assert disk is not None
    assert disk.writable


@pytest.mark.parametrize(
    ("disk", "complaint"),
    [
        ("{formats: [raw], writable: true}", "disk.writable is true, and erofs is never written"),
        (
            "{formats: [raw], root: ext4, writable: true, state: {size: 64MiB}}",
            "disk.state is of no use beside writable: true",
        ),
    ],
)
def test_what_cannot_go_with_a_writable_root_is_told(
    tmp_path: Path, disk: str, complaint: str
) -> None:
    with pytest.raises(DriverError, match=complaint):
        load(written(tmp_path, f"disk: {disk}\n"))


def test_a_disk_says_more(tmp_path: Path) -> None:
    text = (
        "disk:\n  formats: [raw, vmdk, vhd, tar.gz]\n  size: 4GiB\n  root: ext4\n  boot: bios\n"
        "  state: {size: 512MiB}\n  command_line: [quiet, mitigations=auto]\n  console: none\n"
        "  provision: cloud-init\n  boot_test: 2m\n"
    )

    assert load(written(tmp_path, text)).disk == DiskSpec(
        formats=("raw", "vmdk", "vhd", "tar.gz"),
        size=4 << 30,
        root="ext4",
        boot="bios",
        state=DiskState(512 << 20),
        command_line=("quiet", "mitigations=auto"),
        console="",
        provision="cloud-init",
        boot_test=120,
    )


def test_state_may_be_on_a_disk_of_its_own(tmp_path: Path) -> None:
    device = "/dev/disk/by-id/virtio-state"
    disk = load(written(tmp_path, f"disk: {{formats: [raw], state: {{device: {device}}}}}\n")).disk

    assert disk is not None
    assert disk.state == DiskState(device=device)


def test_tests_are_named_with_who_logs_in(tmp_path: Path) -> None:
    (tmp_path / "checks").mkdir()
    short = "disk: {formats: [raw], provision: cloud-init, tests: checks}\n"
    long = "disk: {formats: [raw], provision: cloud-init, tests: {path: checks, user: ops}}\n"

    disks = [load(written(tmp_path, text)).disk for text in (short, long)]

    assert [disk and disk.tests for disk in disks] == [
        DiskTests(tmp_path / "checks", "admin"),
        DiskTests(tmp_path / "checks", "ops"),
    ]


def test_other_tests_are_another_image_to_seal(tmp_path: Path) -> None:
    test = tmp_path / "checks" / "test_it.py"
    test.parent.mkdir()
    text = "disk: {formats: [raw], provision: cloud-init, tests: checks}\n"
    manifests = []

    for content in ("one", "two"):
        test.write_text(content)
        manifests.append(config_manifest(load(written(tmp_path, text))))

    assert manifests[0] != manifests[1]
    assert str(tmp_path) not in str(manifests[0])


def test_a_boot_test_can_be_left_out(tmp_path: Path) -> None:
    disk = load(written(tmp_path, "disk: {formats: [raw], boot_test: false}\n")).disk

    assert disk is not None
    assert disk.boot_test == 0


def test_another_disk_is_another_image_and_no_disk_is_the_same_as_ever(tmp_path: Path) -> None:
    none = config_manifest(load(written(tmp_path, "")))
    one = config_manifest(load(written(tmp_path, "disk: {formats: [raw]}\n")))
    other = config_manifest(load(written(tmp_path, "disk: {formats: [raw], size: 4GiB}\n")))

    assert "disk" not in none
    assert one != other
    assert "slots" not in one["disk"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("disk: {}\n", "4: disk.formats is missing; name at least one, such as formats: [qcow2]."),
        (
            "disk: {formats: []}\n",
            "4: disk.formats is empty; name at least one format, such as [qcow2].",
        ),
        (
            "disk: {formats: [qcow]}\n",
            (
                "4: disk.formats[0] is qcow; it must be raw, qcow2, vmdk, vhd, tar.gz or "
                "sysupdate (did you mean qcow2?)."
            ),
        ),
        (
            "disk:\n  formats: [raw]\n  size: 4G\n",
            (
                "6: disk.size is 4G; it must be a whole number with its unit, such as "
                '"512MiB" or "4GiB".'
            ),
        ),
        (
            "disk:\n  formats: [raw]\n  size: 4096\n",
            (
                "6: disk.size is 4096; it must be a whole number with its unit, such as "
                '"512MiB" or "4GiB".'
            ),
        ),
        (
            "disk:\n  formats: [raw]\n  boot: bios\n",
            (
                "6: disk.boot is bios, which cannot verify a kernel's command line; write "
                "root: ext4 beside it, or boot: uefi."
            ),
        ),
        (
            "disk:\n  formats: [raw]\n  state: {size: 1MiB}\n",
            "6: disk.state.size is 1MiB; it must be at least 16MiB.",
        ),
        (
            "disk:\n  formats: [raw]\n  state:\n    size: 1GiB\n    device: /dev/vdb\n",
            ("7: disk.state.size is of no use beside device: a disk of its own has its own size."),
        ),
        (
            "disk:\n  formats: [raw]\n  state: {device: /var/lib}\n",
            (
                "6: disk.state.device is /var/lib; name a disk below /dev, best by its serial "
                "number, such as /dev/disk/by-id/virtio-state."
            ),
        ),
        (
            "disk:\n  formats: [raw]\n  command_line: [root=/dev/sda1]\n",
            (
                "6: disk.command_line[0] is root=/dev/sda1, which the disk's own layout decides; "
                "leave it out."
            ),
        ),
        (
            "disk:\n  formats: [raw]\n  command_line: [quiet splash]\n",
            "6: disk.command_line[0] is quiet splash; write each word as an item of its own.",
        ),
        (
            "disk:\n  formats: [raw]\n  console: serial\n",
            (
                "6: disk.console is serial; a console is a device and perhaps its speed, such as "
                '"ttyS0,115200", or none.'
            ),
        ),
        (
            "disk:\n  formats: [raw]\n  provision: cloud-init\n  tests: nowhere\n",
            ("7: disk.tests is nowhere, where there is nothing; it is looked for from FOLDER."),
        ),
        (
            "disk:\n  formats: [raw]\n  tests: .\n",
            ("6: disk.tests log in with a key from cloud-init; write provision: cloud-init."),
        ),
        (
            "disk:\n  formats: [raw, sysupdate]\n",
            (
                "5: disk.formats has sysupdate, which fills a second slot; write slots: {} "
                "beside it."
            ),
        ),
        (
            "disk:\n  formats: [raw]\n  root: ext4\n  slots: {}\n",
            (
                "7: disk.slots are for a verified root that UEFI starts; write root: erofs and "
                "boot: uefi beside it."
            ),
        ),
        (
            "disk:\n  formats: [raw]\n  slots: {tries: 12}\n",
            "6: disk.slots.tries is 12; it must be at most 9.",
        ),
        (
            "disk:\n  formats: [raw]\n  slots: {tries: 0}\n",
            "6: disk.slots.tries is 0; it must be at least 1.",
        ),
        (
            "disk:\n  formats: [raw]\n  slots: {esp: 10MiB}\n",
            "6: disk.slots.esp is 10MiB; it must be at least 64MiB.",
        ),
        (
            "disk:\n  formats: [raw]\n  slots: 2\n",
            "6: disk.slots is the number 2; it must be a mapping, such as {tries: 3}, or {}.",
        ),
        (
            "name: a-name-that-is-much-too-long\ndisk:\n  formats: [raw]\n  slots: {}\n",
            (
                "7: disk.slots need a shorter name of the image than a-name-that-is-much-too-long, "
                "which is a part of the labels of its partitions; at most 24 characters."
            ),
        ),
        (
            "disk: {formats: [raw], rot: ext4}\n",
            "4: disk.rot is not a known key; did you mean root?",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(DriverError) as caught:
        load(path)

    expected = message.replace("FOLDER", str(tmp_path))
    assert str(caught.value).splitlines() == [f"{path}:{expected}"]


def test_a_container_has_no_disk(tmp_path: Path) -> None:
    path = written(
        tmp_path, "disk: {formats: [raw]}\n", "base:\n  debootstrap: {suite: bookworm}\n"
    )

    with pytest.raises(DriverError, match="3: disk is for images with kind: vm"):
        load(path)


def test_a_machine_with_cloud_init_keeps_the_python_that_it_is_written_in(tmp_path: Path) -> None:
    def python(text: str, seal: str = "") -> str:
        return load(written(tmp_path, f"disk: {{formats: [raw]{text}}}\n{seal}")).seal.python

    assert python("") == "remove"
    assert python(", provision: cloud-init") == "keep"
    assert python(", provision: cloud-init", "seal: {sbom: false}\n") == "keep"
    assert python(", provision: cloud-init", "seal: {python: remove}\n") == "remove"
