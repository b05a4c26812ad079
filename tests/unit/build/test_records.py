# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache: a record is given only while it and the blobs that it speaks of are whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import (
    BakeRecord,
    BaseRecord,
    Cache,
    LayerRecord,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

KEY = "sha256:" + "1" * 64


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    layout = Layout(tmp_path / "store")
    layout.ensure()
    return Cache(tmp_path / "cache", layout)


@pytest.fixture
def layer(cache: Cache) -> Layer:
    blob = cache.layout.put(b"a layer", "application/vnd.oci.image.layer.v1.tar+gzip")
    return Layer(blob, "sha256:" + "2" * 64, 7)


def kept(cache: Cache, layer: Layer) -> None:
    """Keep a record of each kind."""
    index = cache.layout.put(b"an index", "application/vnd.oci.image.index.v1+json")
    cache.keep_base(BaseRecord(KEY, (layer,), 5, "bookworm", "amd64", 1.5))
    cache.keep_layer(LayerRecord(KEY, "nginx", layer, 2.5, {"port": 80}))
    cache.keep_bake(BakeRecord(KEY, "web", "1.0.1", index.digest, "sha256:c", ("a", "b")))


def test_records_are_read_back_as_they_were_written(cache: Cache, layer: Layer) -> None:
    kept(cache, layer)
    base, captured, bake = cache.base(KEY), cache.layer(KEY), cache.bake(KEY)
    assert base == BaseRecord(KEY, (layer,), 5, "bookworm", "amd64", 1.5)
    assert captured == LayerRecord(KEY, "nginx", layer, 2.5, {"port": 80})
    assert bake is not None
    assert (bake.version, bake.layer_keys) == ("1.0.1", ("a", "b"))
    assert cache.latest("web") == bake


def test_what_was_never_kept_is_absent(cache: Cache) -> None:
    assert cache.base(KEY) is None
    assert cache.layer(KEY) is None
    assert cache.bake(KEY) is None
    assert cache.latest("web") is None


def test_a_record_whose_blob_is_gone_is_absent(cache: Cache, layer: Layer) -> None:
    kept(cache, layer)
    bake = cache.bake(KEY)
    assert bake is not None
    cache.layout.path(layer.descriptor.digest).unlink()
    cache.layout.path(bake.index).unlink()
    assert cache.base(KEY) is None
    assert cache.layer(KEY) is None
    assert cache.bake(KEY) is None


def test_a_layer_that_changed_nothing_needs_no_blob(cache: Cache) -> None:
    cache.keep_layer(LayerRecord(KEY, "checks", None, 0.1, {}))
    assert cache.layer(KEY) == LayerRecord(KEY, "checks", None, 0.1, {})


@pytest.mark.parametrize("kind", ["bases", "layers", "bakes", "latest"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"null", b"[]", b"7", b"{}", b'{"key": 1, "layer": {}, "layers": 3}'],
)
def test_a_damaged_record_is_absent(cache: Cache, layer: Layer, kind: str, content: bytes) -> None:
    kept(cache, layer)
    cache.record_path(kind, "web" if kind == "latest" else KEY).write_bytes(content)
    asked = {"bases": cache.base, "layers": cache.layer, "bakes": cache.bake}
    assert (cache.latest("web") if kind == "latest" else asked[kind](KEY)) is None


def test_a_record_of_a_newer_release_is_absent(cache: Cache, layer: Layer) -> None:
    kept(cache, layer)
    path = cache.record_path("bakes", KEY)
    document: dict[str, Any] = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, "signature": "new"}))
    assert cache.bake(KEY) is None


def test_a_later_bake_becomes_the_latest_and_the_earlier_one_stays(
    cache: Cache, layer: Layer
) -> None:
    kept(cache, layer)
    first = cache.latest("web")
    assert first is not None
    other = "sha256:" + "9" * 64
    second = BakeRecord(other, "web", "1.0.2", first.index, "sha256:d", ())
    cache.keep_bake(second)
    assert cache.latest("web") == second
    assert cache.bake(KEY) == first
