# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks as files: named, listed with their checksums, and written once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.artefact import (
    DiskArtefact,
    store_disk,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.files import (
    plan_files,
    read_sums,
    write_files,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

MIB = 1 << 20
CONTENT = b"head" + bytes(8 * MIB) + b"tail" + bytes(3 * MIB)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "store")
    layout.ensure()
    return layout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "disks"


def disk(layout: Layout, content: bytes = CONTENT, form: str = "raw") -> DiskArtefact:
    return store_disk(layout, [content], form=form, name="web", size=len(content), root_hash="")


def test_files_are_named_after_the_version_and_listed(layout: Layout, folder: Path) -> None:
    files = plan_files(
        [disk(layout), disk(layout, b"q", "qcow2")], folder, name="web", version="1.0.3"
    )

    write_files(layout, files, folder)

    assert (folder / "web_1.0.3.raw").read_bytes() == CONTENT
    assert (folder / "SHA256SUMS").read_text() == (
        f"{hashlib.sha256(b'q').hexdigest()}  web_1.0.3.qcow2\n"
        f"{hashlib.sha256(CONTENT).hexdigest()}  web_1.0.3.raw\n"
    )


def test_what_a_partition_holds_is_named_after_it_too(layout: Layout, folder: Path) -> None:
    parts = [
        store_disk(
            layout, [b"r"], form="root", name="web", size=1, root_hash="ff", partition="4f-68"
        ),
        disk(layout, b"k", "efi"),
    ]

    files = plan_files(parts, folder, name="web", version="1.0.3")

    assert [one.path.name for one in files] == ["web_1.0.3_4f-68.root", "web_1.0.3.efi"]


def test_zeros_take_no_room(layout: Layout, folder: Path) -> None:
    write_files(layout, plan_files([disk(layout)], folder, name="web", version="1"), folder)

    assert os.stat(folder / "web_1.raw").st_blocks * 512 < 4 * MIB


def test_a_file_that_is_there_stays(layout: Layout, folder: Path) -> None:
    one = disk(layout)
    write_files(layout, plan_files([one], folder, name="web", version="1"), folder)
    before = (folder / "web_1.raw").stat().st_ino

    again = plan_files([one], folder, name="web", version="1")
    write_files(layout, again, folder)

    assert [file.is_there for file in again] == [True]
    assert (folder / "web_1.raw").stat().st_ino == before


def test_a_file_that_is_another_is_written_anew(layout: Layout, folder: Path) -> None:
    folder.mkdir()
    (folder / "web_1.raw").write_bytes(bytes(len(CONTENT)))

    write_files(layout, plan_files([disk(layout)], folder, name="web", version="1"), folder)

    assert (folder / "web_1.raw").read_bytes() == CONTENT


def test_what_others_listed_stays_listed(layout: Layout, folder: Path) -> None:
    folder.mkdir()
    (folder / "SHA256SUMS").write_text(f"{'a' * 64}  other_1.raw\n")

    write_files(layout, plan_files([disk(layout)], folder, name="web", version="1"), folder)

    assert set(read_sums(folder)) == {"other_1.raw", "web_1.raw"}


def test_a_list_that_is_none_is_not_overwritten(layout: Layout, folder: Path) -> None:
    folder.mkdir()
    (folder / "SHA256SUMS").write_text("something else\n")

    with pytest.raises(DriverError, match="which is no checksum"):
        write_files(layout, (), folder)
