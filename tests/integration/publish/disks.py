# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks as publications take them: small, with the partition table of one that boots."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
import uuid
from dataclasses import replace
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.artefact import (
    DiskArtefact,
    store_disk,
    with_disks,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.formats import vhd_footer
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.version import Version
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.publish.subject import Subject

MIB = 1 << 20
SIZE = 24 * MIB
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
BLOCK = 512 << 10
WRITTEN = (0, 3, 4, 5, 9, 17, 30, 47)
"""The blocks of half a MiB in which there is something."""


def disk_bytes(kind: uuid.UUID = ESP, salt: bytes = b"") -> bytes:
    """Return a disk with one partition of *kind*, and noise in the blocks WRITTEN."""
    content = bytearray(SIZE)
    for block in WRITTEN:
        noise = hashlib.sha256(salt + bytes([block])).digest() * 64
        content[block * BLOCK + 1024 : block * BLOCK + 1024 + len(noise)] = noise
    content[512:520] = b"EFI PART"
    struct.pack_into("<QII", content, 512 + 72, 2, 128, 128)
    content[1024 : 1024 + 128 * 128] = bytes(128 * 128)
    content[1024:1040] = kind.bytes_le
    return bytes(content)


def store(layout: Layout, raw: bytes, forms: tuple[str, ...] = ("raw",)) -> list[DiskArtefact]:
    """Put the disk into *layout* in these formats."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("disk.raw")
        member.size = len(raw)
        archive.addfile(member, io.BytesIO(raw))
    contents = {
        "raw": raw,
        "vhd": raw + vhd_footer(len(raw), b"u" * 16, 1_700_000_000),
        "qcow2": b"QFI\xfb" + raw[: 3 * MIB],
        "tar.gz": packed.getvalue(),
    }
    return [
        store_disk(layout, [contents[form]], form=form, name="web-vm", size=len(raw), root_hash="")
        for form in forms
    ]


def subject(
    folder: Path, form: str, *, number: str = "1.0.3", raw: bytes = b"", content: bytes = b""
) -> Subject:
    """Return a disk of web-vm in a store of its own.

    :param content: of its file, when what that is made of does not matter.
    """
    layout = Layout(folder / "store")
    layout.ensure()
    if content:
        size = len(content)
        disk = store_disk(layout, [content], form=form, name="web-vm", size=size, root_hash="")
    else:
        (disk,) = store(layout, raw or disk_bytes(), (form,))
    return Subject("web-vm", number, "sha256:" + "1d" * 32, disk, layout)


def of_size(one: Subject, size: int) -> Subject:
    """Return the subject with a disk of which machines see *size* bytes."""
    return replace(one, disk=replace(one.disk, size=size))


def record_version(home: Path, salt: bytes = b"", forms: tuple[str, ...] = ("raw",)) -> Version:
    """Bring a version of web-vm with disks into the store and the catalog of *home*."""
    layout = Layout(home / "store")
    layout.ensure()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.size = len(salt)
        archive.addfile(member, io.BytesIO(salt))
    layer = store_layer(layout, [packed.getvalue()])
    assert layer is not None
    image = write_image(layout, ImageConfig("amd64", 0), [HistoryLayer(layer, "a step")])
    image = with_disks(layout, image, store(layout, disk_bytes(salt=salt), forms))
    digest = image.index.digest

    def made(number: object) -> Version:
        return Version(
            image="web-vm",
            number=str(number),
            index=digest,
            config=image.config.digest,
            bake_key=digest,
            definition_digest=digest,
            definition_revision=None,
            created="2026-01-01T00:00:00Z",
            size=SIZE,
            base="none",
        )

    version, _new = Catalog(home / "catalog").record("web-vm", "1.0", digest, made)
    return version
