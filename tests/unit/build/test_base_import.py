# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bases that exist already, from OCI layouts and from an engine's archive."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.base_import import (
    Imported,
    import_archive,
    import_registry,
    suite_of,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    Archive,
    Registry,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.archive import docker_archive
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import INDEX, Descriptor
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer,
    Image,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer, store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

DEBIAN = {"usr/lib/os-release": b'NAME="Debian"\nVERSION_CODENAME="bookworm"\n'}
DIGEST = "sha256:" + "a" * 64


def tar(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def made(layout: Layout, *trees: Mapping[str, bytes], architecture: str = "amd64") -> Image:
    layers = [store_layer(layout, [tar(tree)]) for tree in trees]
    config = ImageConfig(architecture, 1_600_000_000)
    return write_image(layout, config, [HistoryLayer(layer, "x") for layer in layers])


@pytest.fixture
def source(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "source")
    layout.ensure()
    return layout


@pytest.fixture
def store(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "store")
    layout.ensure()
    return layout


def imported(source: Layout, digest: str, store: Layout) -> Imported:
    archive = Archive(source.root, digest)
    return import_archive(archive, store, epoch=None, drop=lambda _name: False, empty=())


def test_the_layers_of_a_layout_are_taken_over_as_they_are(source: Layout, store: Layout) -> None:
    image = made(source, DEBIAN, {"etc/motd": b"hello\n"})
    source.tag("debian", image.index)
    layers, epoch, suite = imported(source, image.index.digest, store)
    assert [layer.diff_id for layer in layers] == [layer.diff_id for layer in image.layers]
    assert (epoch, suite) == (1_600_000_000, "bookworm")
    assert all(store.has(layer.descriptor.digest) for layer in layers)


def test_a_manifest_may_be_named_directly(source: Layout, store: Layout) -> None:
    image = made(source, DEBIAN)
    source.tag("debian", image.manifest)
    assert imported(source, image.manifest.digest, store)[2] == "bookworm"


def several(source: Layout) -> tuple[Descriptor, list[Image]]:
    images = [made(source, DEBIAN, architecture=name) for name in ("amd64", "arm64")]
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [image.manifest.as_json() for image in images],
    }
    index = source.put(json.dumps(document).encode(), INDEX)
    source.tag("debian", index)
    return index, images


def test_an_index_of_several_images_is_refused(source: Layout, store: Layout) -> None:
    index, _images = several(source)
    with pytest.raises(DriverError, match="holds 2 images") as failed:
        imported(source, index.digest, store)
    assert "the one manifest" in failed.value.hint


def test_of_an_index_of_several_images_one_can_be_named(source: Layout, store: Layout) -> None:
    _index, images = several(source)
    assert imported(source, images[1].manifest.digest, store)[2] == "bookworm"


def test_a_digest_that_the_layout_does_not_list_is_refused(source: Layout, store: Layout) -> None:
    image = made(source, DEBIAN)
    source.tag("debian", image.index)
    with pytest.raises(DriverError, match=f"has no image {DIGEST}.*{image.index.digest}"):
        imported(source, DIGEST, store)


def test_a_damaged_blob_is_refused(source: Layout, store: Layout) -> None:
    image = made(source, DEBIAN)
    source.tag("debian", image.index)
    path = source.path(image.layers[0].descriptor.digest)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(path.stat().st_mode | stat.S_IWUSR)
    path.write_bytes(content)
    with pytest.raises(DriverError, match=r"damaged|cannot be read"):
        imported(source, image.index.digest, store)


def test_a_layer_of_a_kind_that_cannot_be_read_is_named(source: Layout, store: Layout) -> None:
    image = made(source, DEBIAN)
    (layer,) = image.layers
    zstd = dataclasses.replace(
        layer, descriptor=dataclasses.replace(layer.descriptor, media_type="x/tar+zstd")
    )
    other = write_image(source, ImageConfig("amd64", 0), [HistoryLayer(zstd, "x")])
    source.tag("debian", other.index)
    with pytest.raises(DriverError, match=r"type x/tar.zstd") as failed:
        imported(source, other.index.digest, store)
    assert "skopeo copy" in failed.value.hint


def test_an_image_that_is_no_debian_is_refused(source: Layout, store: Layout) -> None:
    image = made(source, {"etc/motd": b"hello\n"})
    source.tag("other", image.index)
    with pytest.raises(DriverError, match="no os-release file with a VERSION_CODENAME"):
        imported(source, image.index.digest, store)


@pytest.mark.parametrize(
    ("line", "suite"),
    [
        ("VERSION_CODENAME=trixie", "trixie"),
        ("VERSION_CODENAME='trixie'", "trixie"),
        ('NAME="a=b"\nVERSION_CODENAME="trixie"', "trixie"),
    ],
)
def test_the_suite_is_what_os_release_says(store: Layout, line: str, suite: str) -> None:
    layer = store_layer(store, [tar({"./etc/os-release": line.encode()})])
    assert isinstance(layer, Layer)
    assert suite_of(store, [layer]) == suite


def test_the_last_layer_s_os_release_counts(store: Layout) -> None:
    trees = [DEBIAN, {"usr/lib/os-release": b"VERSION_CODENAME=trixie\n"}, {"etc/motd": b"x"}]
    layers = [layer for tree in trees if (layer := store_layer(store, [tar(tree)]))]
    assert suite_of(store, layers) == "trixie"


class FakeDocker:
    """Pulls nothing and saves an archive that was made before; a program on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "docker"
        program.write_text(
            f'#!/bin/sh\ncd {folder}\n[ "$1" = pull ] && exit "$(cat pull)"\n'
            'cat archive && exit "$(cat save)"\n'
        )
        program.chmod(0o755)
        self.pulls(0)
        self.saves(b"")

    def pulls(self, status: int) -> None:
        (self.folder / "pull").write_text(str(status))

    def saves(self, archive: bytes, status: int = 0) -> None:
        (self.folder / "archive").write_bytes(archive)
        (self.folder / "save").write_text(str(status))


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return FakeDocker(folder)


BASE = Registry(f"registry.example.org/debian@{DIGEST}")


def test_a_pulled_image_keeps_its_layers(source: Layout, store: Layout, docker: FakeDocker) -> None:
    image = made(source, DEBIAN, {"etc/motd": b"hello\n"})
    docker.saves(b"".join(docker_archive(source, image, ["debian:12"])))
    layers, epoch, suite = import_registry(BASE, store, Engine())
    assert [layer.diff_id for layer in layers] == [layer.diff_id for layer in image.layers]
    assert (epoch, suite) == (1_600_000_000, "bookworm")


def saved(created: object) -> bytes:
    """Return what an engine of version 20 saves: folders with a layer.tar each."""
    layer = tar(DEBIAN)
    files: dict[str, bytes] = {
        "1/layer.tar": layer,
        "config.json": json.dumps(
            {"created": created, "rootfs": {"diff_ids": [_sha256(layer)]}}
        ).encode(),
        "manifest.json": json.dumps(
            [{"Config": "config.json", "Layers": ["1/layer.tar"]}]
        ).encode(),
    }
    return tar(files)


def _sha256(content: bytes) -> str:

    return "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("created", "epoch"),
    [
        ("2020-09-13T12:26:40Z", 1_600_000_000),
        ("2020-09-13T12:26:40.123456789Z", 1_600_000_000),
        ("2020-09-13T14:26:40+02:00", 1_600_000_000),
        ("2020-09-13T12:26:40", 1_600_000_000),
        ("0001-01-01T00:00:00Z", 0),
        ("once upon a time", 0),
        (None, 0),
    ],
)
def test_a_pulled_image_is_dated_by_its_own_time(
    store: Layout, docker: FakeDocker, created: Any, epoch: int
) -> None:
    docker.saves(saved(created))
    assert import_registry(BASE, store, Engine())[1] == epoch


def test_a_pulled_image_with_another_layer_than_it_says_is_refused(
    store: Layout, docker: FakeDocker
) -> None:
    docker.saves(saved(None).replace(b"Debian", b"Nebian"))
    with pytest.raises(DriverError, match="is damaged: layer sha256"):
        import_registry(BASE, store, Engine())


def test_an_image_that_cannot_be_pulled_is_an_error(store: Layout, docker: FakeDocker) -> None:
    docker.pulls(1)
    with pytest.raises(DriverError, match="docker failed with exit status 1"):
        import_registry(BASE, store, Engine())


def test_an_archive_that_breaks_off_is_an_error(store: Layout, docker: FakeDocker) -> None:
    docker.saves(saved(None)[:700], status=1)
    with pytest.raises(DriverError, match="could not give registry"):
        import_registry(BASE, store, Engine())
