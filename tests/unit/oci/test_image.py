# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images: the JSON that the specification asks for, with bytes that repeat."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import (
    CONFIG,
    INDEX,
    LAYER_GZIP,
    MANIFEST,
    Descriptor,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    Healthcheck,
    HistoryLayer,
    ImageConfig,
    read_image,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer, store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

CONFIGURED = ImageConfig(
    architecture="arm64",
    variant="v8",
    created=1_700_000_000,
    user="10001:10001",
    entrypoint=("/usr/sbin/nginx",),
    cmd=("-g", "daemon off;"),
    env=(("PATH", "/usr/bin"), ("A", "b=c")),
    ports=("8080/tcp",),
    volumes=("/var/lib/nginx",),
    working_dir="/srv",
    labels={"org.opencontainers.image.title": "web"},
    stop_signal="SIGQUIT",
    healthcheck=Healthcheck(("CMD", "check"), 10**9, 2 * 10**9, retries=3),
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.ensure()
    return made


@pytest.fixture
def layer(layout: Layout) -> Layer:
    stored = store_layer(layout, [b"tar"])
    assert stored is not None
    return stored


def document(layout: Layout, blob: Descriptor) -> Any:
    return json.loads(layout.read(blob))


def test_the_configuration_has_all_that_was_asked_for(layout: Layout, layer: Layer) -> None:
    history = [HistoryLayer(layer, "base"), HistoryLayer(None, "config")]
    image = write_image(layout, CONFIGURED, history)
    created = "2023-11-14T22:13:20Z"
    assert document(layout, image.config) == {
        "architecture": "arm64",
        "os": "linux",
        "variant": "v8",
        "created": created,
        "config": {
            "User": "10001:10001",
            "ExposedPorts": {"8080/tcp": {}},
            "Env": ["PATH=/usr/bin", "A=b=c"],
            "Entrypoint": ["/usr/sbin/nginx"],
            "Cmd": ["-g", "daemon off;"],
            "Volumes": {"/var/lib/nginx": {}},
            "WorkingDir": "/srv",
            "Labels": {"org.opencontainers.image.title": "web"},
            "StopSignal": "SIGQUIT",
            "Healthcheck": {
                "Test": ["CMD", "check"],
                "Interval": 10**9,
                "Timeout": 2 * 10**9,
                "Retries": 3,
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [
            {"created": created, "created_by": "base"},
            {"created": created, "created_by": "config", "empty_layer": True},
        ],
    }


def test_manifest_and_index_lead_to_the_configuration(layout: Layout, layer: Layer) -> None:
    image = write_image(layout, CONFIGURED, [HistoryLayer(layer, "base")], {"a": "b"})
    manifest = document(layout, image.manifest)
    assert manifest["schemaVersion"] == 2
    assert manifest["mediaType"] == MANIFEST
    assert manifest["annotations"] == {"a": "b"}
    assert manifest["config"] == image.config.as_json()
    assert manifest["config"]["mediaType"] == CONFIG
    assert [blob["digest"] for blob in manifest["layers"]] == [layer.descriptor.digest]
    index = document(layout, image.index)
    assert index["mediaType"] == image.index.media_type == INDEX
    assert index["annotations"] == {"a": "b"}
    assert index["manifests"] == [image.manifest.as_json()]
    platform = {"architecture": "arm64", "os": "linux", "variant": "v8"}
    assert index["manifests"][0]["platform"] == platform


def test_what_is_not_set_is_not_there(layout: Layout) -> None:
    image = write_image(layout, ImageConfig("amd64", 0), [])
    assert document(layout, image.config)["config"] == {}
    assert "annotations" not in document(layout, image.manifest)


def test_equal_arguments_give_equal_bytes(layout: Layout, layer: Layer) -> None:
    one = replace(CONFIGURED, labels={"a": "1", "b": "2"}, ports=("1/tcp", "2/tcp"))
    two = replace(CONFIGURED, labels={"b": "2", "a": "1"}, ports=("2/tcp", "1/tcp"))
    history = [HistoryLayer(layer, "base")]
    assert write_image(layout, one, history) == write_image(layout, two, history)


def test_an_image_is_read_as_it_was_written(layout: Layout, layer: Layer) -> None:
    image = write_image(layout, CONFIGURED, [HistoryLayer(layer, "a"), HistoryLayer(None, "b")])
    assert read_image(layout, image.index) == image


def foreign(layout: Layout, content: bytes, diff_id: str, media_type: str) -> Descriptor:
    blob = layout.put(content, media_type)
    config = layout.put(json.dumps({"rootfs": {"diff_ids": [diff_id]}}).encode(), CONFIG)
    manifest = {"config": config.as_json(), "layers": [blob.as_json()]}
    listed = layout.put(json.dumps(manifest).encode(), MANIFEST)
    return layout.put(json.dumps({"manifests": [listed.as_json()]}).encode(), INDEX)


def test_the_size_of_a_foreign_layer_is_found_out(layout: Layout, layer: Layer) -> None:
    members = gzip.compress(b"t") + gzip.compress(b"ar")
    index = foreign(layout, members, layer.diff_id, LAYER_GZIP)
    assert [found.size for found in read_image(layout, index).layers] == [3]


def test_a_foreign_layer_with_a_false_diff_id_is_refused(layout: Layout, layer: Layer) -> None:
    index = foreign(layout, gzip.compress(b"other"), layer.diff_id, LAYER_GZIP)
    with pytest.raises(DriverError, match="does not unpack to"):
        read_image(layout, index)


def test_a_layer_of_another_kind_is_refused(layout: Layout, layer: Layer) -> None:
    index = foreign(layout, b"x", layer.diff_id, LAYER_GZIP.replace("gzip", "zstd"))
    with pytest.raises(DriverError, match="tar\\+zstd, which is not supported"):
        read_image(layout, index)


def test_an_index_of_several_images_is_refused(layout: Layout) -> None:
    manifest = write_image(layout, CONFIGURED, []).manifest.as_json()
    index = layout.put(json.dumps({"manifests": [manifest, manifest]}).encode(), INDEX)
    with pytest.raises(DriverError, match="holds 2 image manifests"):
        read_image(layout, index)


@pytest.mark.parametrize("content", [b"[]", b"{}", b"not JSON"])
def test_a_malformed_index_is_named(layout: Layout, content: bytes) -> None:
    index = layout.put(content, INDEX)
    with pytest.raises(DriverError, match=index.digest):
        read_image(layout, index)
