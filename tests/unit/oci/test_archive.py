# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stream for docker load."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.archive import docker_archive
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer,
    Image,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.ensure()
    return made


@pytest.fixture
def image(layout: Layout) -> Image:
    layers = [store_layer(layout, [content]) for content in (b"one", b"two", b"one")]
    return write_image(layout, ImageConfig("amd64", 0), [HistoryLayer(x, "") for x in layers])


def contents(stream: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        for info in archive:
            member = archive.extractfile(info)
            if member is not None:
                assert info.name not in found
                found[info.name] = member.read()
    return found


def test_it_holds_manifest_configuration_and_each_blob_once(layout: Layout, image: Image) -> None:
    found = contents(b"".join(docker_archive(layout, image, ["kiln/web:1"])))
    (described,) = json.loads(found.pop("manifest.json"))
    assert described["RepoTags"] == ["kiln/web:1"]
    assert described["Config"] == image.config.digest[7:] + ".json"
    assert found.pop(described["Config"]) == layout.read(image.config)
    stored = [layout.read(layer.descriptor) for layer in image.layers]
    assert [found[name] for name in described["Layers"]] == stored
    assert len(found) == 2


def test_layers_that_the_engine_has_are_named_but_left_out(layout: Layout, image: Image) -> None:
    without = {image.layers[0].diff_id}
    found = contents(b"".join(docker_archive(layout, image, [], without=without)))
    (described,) = json.loads(found["manifest.json"])
    assert len(described["Layers"]) == 3
    assert [name in found for name in described["Layers"]] == [False, True, False]


def test_a_damaged_layer_is_found_before_its_end_is_sent(layout: Layout, image: Image) -> None:
    path = layout.path(image.layers[1].descriptor.digest)
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(DriverError, match="is damaged"):
        b"".join(docker_archive(layout, image, []))
