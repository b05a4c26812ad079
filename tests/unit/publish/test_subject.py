# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk is read block by block, and is verified while it is read."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.artefact import store_disk
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.publish.firmware import (
    starts_by_uefi,
)
from ansible_collections.kiln.immutable.plugins.module_utils.publish.steps import Steps, library
from ansible_collections.kiln.immutable.plugins.module_utils.publish.subject import (
    Subject,
    blocks,
    choose,
    gibibytes,
    verified_file,
)

DISK = bytes(1000) + b"content" + bytes(1041)
FOOTER = b"conectix".ljust(512, b"\0")
ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    layout = Layout(tmp_path / "store")
    layout.ensure()
    disk = store_disk(
        layout, [DISK, FOOTER], form="vhd", name="web-vm", size=len(DISK), root_hash=""
    )
    return Subject("web-vm", "1.0.3", "sha256:" + "1d" * 32, disk, layout)


def test_the_disk_is_without_the_footer_of_its_file(subject: Subject) -> None:
    assert list(blocks(subject, 1024)) == [DISK[:1024], DISK[1024:]]
    assert b"".join(blocks(subject, 1000, whole_file=True)) == DISK + FOOTER


@pytest.mark.parametrize("at", [0, 2047, len(DISK) + 100])
def test_a_damaged_disk_is_noticed_at_the_latest_at_its_end(subject: Subject, at: int) -> None:
    path = subject.layout.path(subject.disk.blob.digest)
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(b"!")

    with pytest.raises(DriverError, match=subject.disk.blob.digest):
        list(blocks(subject, 1024))
    with pytest.raises(DriverError, match=subject.disk.blob.digest):
        verified_file(subject)


def test_the_best_format_is_chosen(subject: Subject) -> None:
    assert choose([subject.disk], ["raw", "vhd"], named="it") is subject.disk

    with pytest.raises(DriverError, match=r"no disk in the format tar\.gz; it has vhd\. Add tar"):
        choose([subject.disk], ["tar.gz"], named="web-vm 1.0.3")
    with pytest.raises(DriverError, match=r"web-vm 1\.0\.3 has no disks\."):
        choose([], ["raw"], named="web-vm 1.0.3")


def test_a_begun_gibibyte_is_a_whole_one() -> None:
    assert [gibibytes(size) for size in (1, 1 << 30, (1 << 30) + 1)] == [1, 1, 2]


def table(kind: str) -> bytes:
    """Return the head of a disk with one partition of *kind*."""
    header = b"EFI PART".ljust(72, b"\0") + struct.pack("<QII", 2, 128, 128)
    entry = uuid.UUID(kind).bytes_le
    return bytes(512) + header.ljust(512, b"\0") + entry.ljust(128 * 128, b"\0")


def test_the_partition_table_says_which_firmware_starts_the_disk() -> None:
    assert starts_by_uefi(table(ESP))
    assert not starts_by_uefi(table(BIOS_BOOT))

    with pytest.raises(DriverError, match="neither an EFI system partition"):
        starts_by_uefi(table("0fc63daf-8483-4772-8e79-3d69d8477de4"))
    with pytest.raises(DriverError, match="no GPT"):
        starts_by_uefi(bytes(4096))


def test_in_check_mode_steps_are_only_listed() -> None:
    done: list[str] = []
    for acts in (False, True):
        steps = Steps(acts, done.append)
        assert steps.take("Copy it", lambda: "copied") == ("copied" if acts else None)
        assert steps.taken == ["Copy it"]
    assert done == ["Copy it"]


def test_a_missing_library_is_named_with_what_installs_it() -> None:
    said = r"Publishing to AWS needs the Python package boto3 .*\. pip install boto3"
    with pytest.raises(DriverError, match=said), library("boto3", place="AWS"):
        raise ModuleNotFoundError("No module named 'boto3'")
