# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stream that ``docker load`` takes."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from ..core import canonical
from .capture import DIRECTORY, END_OF_TAR, FILE, READ_BYTES, Entry, padding
from .descriptor import Descriptor
from .digest import parse
from .image import Image
from .layout import Layout


def docker_archive(
    layout: Layout, image: Image, names: Sequence[str], *, without: Container[str] = ()
) -> Iterator[bytes]:
    """Yield the tar stream that makes an engine hold *image*, under *names*.

    It has Docker's manifest.json, the configuration, and the layers as they are stored: engines
    uncompress them themselves, and check them against their diff_ids. The image ID is the digest
    of the configuration.

    :param names: repository and tag, such as ``kiln/web:1.4.7``; may be empty.
    :param without: diff_ids of layers to leave out of the stream. An engine with a graph driver
        does not open the file of a layer whose chain it has; the containerd image store does.
    """
    config_name = parse(image.config.digest)[1] + ".json"
    manifest = [
        {
            "Config": config_name,
            "RepoTags": list(names),
            "Layers": [_layer_name(layer.descriptor) for layer in image.layers],
        }
    ]
    content = canonical.encode(manifest)
    yield _header("manifest.json", len(content)) + content + padding(len(content))
    yield from _blob(layout, image.config, config_name)
    yield Entry(b"layers", DIRECTORY, 0o755, 0, 0, 0).header()
    wanted = [layer.descriptor for layer in image.layers if layer.diff_id not in without]
    for blob in {blob.digest: blob for blob in wanted}.values():
        yield from _blob(layout, blob, _layer_name(blob))
    yield END_OF_TAR


def _layer_name(blob: Descriptor) -> str:
    return f"layers/{parse(blob.digest)[1]}.tar.gz"


def _header(name: str, size: int) -> bytes:
    return Entry(name.encode(), FILE, 0o644, 0, 0, 0, size).header()


def _blob(layout: Layout, blob: Descriptor, name: str) -> Iterator[bytes]:
    with layout.open(blob) as stream:
        yield _header(name, blob.size)
        while content := stream.read(READ_BYTES):
            yield content
    yield padding(blob.size)
