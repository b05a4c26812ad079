# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a version: kept beside it, and made from its layers when it is not."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer,
    Image,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.family import ATTACHED
from ansible_collections.kiln.immutable.plugins.module_utils.trust.attachments import (
    KINDS,
    Attached,
    write_attached,
)
from ansible_collections.kiln.immutable.plugins.module_utils.trust.examination import examine
from ansible_collections.kiln.immutable.plugins.module_utils.trust.notary import keep_statements
from ansible_collections.kiln.immutable.plugins.plugin_utils.manifests import (
    image_manifest,
    keep_manifest,
    layers_manifest,
)

STATUS = b"Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "store")
    made.ensure()
    return made


@pytest.fixture
def image(layout: Layout) -> Image:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in (("etc/app", b"text"), ("var/lib/dpkg/status", STATUS)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    layer = store_layer(layout, [stream.getvalue()])
    return write_image(layout, ImageConfig("amd64", 0), [HistoryLayer(layer, "one")])


def keep(layout: Layout, image: Image) -> None:
    """Do what the end of a bake does."""
    manifest = keep_manifest(layout, image, examine(layout, image.layers))
    keep_statements(layout, image, "kiln/web", [manifest])


def test_a_version_is_listed_from_its_layers_when_no_bake_did(layout: Layout, image: Image) -> None:
    manifest = image_manifest(layout, image)
    assert manifest.packages == {"a:all": "1"}
    assert {"etc", "etc/app", "var/lib/dpkg/status"} <= set(manifest.entries)


def test_what_was_kept_is_what_the_layers_hold_and_does_without_them(
    layout: Layout, image: Image
) -> None:
    expected = layers_manifest(layout, image.layers)
    keep(layout, image)
    for layer in image.layers:
        layout.path(layer.descriptor.digest).unlink()
    for path in layout.listings.iterdir():
        path.unlink()
    assert image_manifest(layout, image) == expected
    with pytest.raises(DriverError):
        layers_manifest(layout, image.layers)


def test_keeping_it_again_changes_nothing(layout: Layout, image: Image) -> None:
    keep(layout, image)
    before = layout.digests(), layout.tags()
    keep(layout, image)
    assert (layout.digests(), layout.tags()) == before


def test_what_its_statement_does_not_name_is_not_believed(layout: Layout, image: Image) -> None:
    expected = layers_manifest(layout, image.layers)
    keep(layout, image)
    write_attached(layout, image.index.digest, "files", [Attached("x", b"something else")])
    assert image_manifest(layout, image) == expected


def test_all_that_is_attached_goes_to_registries_and_back() -> None:
    assert {f".{kind}" for kind in KINDS} <= set(ATTACHED)
