# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storing a layer: its digests, and nothing for an empty one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import LAYER_GZIP
from ansible_collections.kiln.immutable.plugins.module_utils.oci.digest import sha256_bytes
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import (
    CAPTURE_SOURCE,
    Layer,
    store_layer,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.ensure()
    return made


def blobs(layout: Layout) -> list[str]:
    found = [*layout.root.glob("blobs/sha256/*"), *layout.root.glob("ingest/*.partial")]
    return [path.name for path in found]


def test_a_layer_knows_both_its_digests_and_both_its_sizes(layout: Layout) -> None:
    layer = store_layer(layout, [b"a" * 600, b"", b"b" * 424])
    assert layer is not None
    content = layout.read(layer.descriptor)
    assert gzip.decompress(content) == b"a" * 600 + b"b" * 424
    assert layer.descriptor.media_type == LAYER_GZIP
    assert layer.descriptor.size == len(content)
    assert layer.diff_id == sha256_bytes(b"a" * 600 + b"b" * 424)
    assert layer.size == 1024


@pytest.mark.parametrize("chunks", [[], [b""], [bytes(1024)], [bytes(512), bytes(9728)]])
def test_a_tar_without_entries_is_no_layer(layout: Layout, chunks: list[bytes]) -> None:
    assert store_layer(layout, chunks) is None
    assert blobs(layout) == []


def test_a_producer_that_fails_leaves_nothing(layout: Layout) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * 1_000_000
        raise DriverError("The container went away.")

    with pytest.raises(DriverError, match="went away"):
        store_layer(layout, chunks())
    assert blobs(layout) == []


def test_a_layer_survives_json(layout: Layout) -> None:
    layer = store_layer(layout, [b"x"])
    assert layer is not None
    assert Layer.from_json(json.loads(json.dumps(layer.as_json()))) == layer


@pytest.mark.parametrize("changed", [{"diffID": "x"}, {"size": None}, {"descriptor": None}])
def test_a_malformed_layer_is_refused(layout: Layout, changed: dict[str, object]) -> None:
    layer = store_layer(layout, [b"x"])
    assert layer is not None
    with pytest.raises(DriverError):
        Layer.from_json({**layer.as_json(), **changed})


def test_the_capture_program_fits_into_one_argument() -> None:
    # Linux takes at most 128 KiB for one argument (MAX_ARG_STRLEN).
    assert len(CAPTURE_SOURCE.encode()) < 100_000
    compile(CAPTURE_SOURCE, "capture", "exec")
