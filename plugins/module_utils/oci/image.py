# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OCI images: configuration, manifest and a one-manifest index, with bytes that repeat."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ..core import canonical
from ..core.errors import DriverError
from .descriptor import CONFIG, INDEX, LAYER_GZIP, MANIFEST, Descriptor
from .layer import Layer
from .layout import Layout

ARTIFACT_TYPE = "artifactType"
"""The member of an index's entry that says that what it names is no container image."""

_SIZE = "kiln.immutable.layer.size"


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """How an engine finds out that a container works; times are nanoseconds, 0 its default.

    The OCI configuration has no such field: this is Docker's (image spec v1.2, "Healthcheck").
    """

    test: tuple[str, ...]
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What a container of the image starts with (OCI image-spec v1.1, config.md).

    :param architecture: as Go writes it: amd64, arm64.
    :param created: seconds since the epoch.
    :param env: names and values, in the order in which the image gives them.
    :param ports: such as ``8080/tcp``.
    :param volumes: absolute paths.
    """

    architecture: str
    created: int
    os: str = "linux"
    variant: str = ""
    user: str = ""
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: tuple[tuple[str, str], ...] = ()
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None


@dataclass(frozen=True, slots=True)
class HistoryLayer:
    """One step of an image's history: a layer, or None for a step that changed no file."""

    layer: Layer | None
    created_by: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a layout. The digest of *config* is Docker's image ID."""

    index: Descriptor
    manifest: Descriptor
    config: Descriptor
    layers: tuple[Layer, ...]


def write_image(
    layout: Layout,
    config: ImageConfig,
    layers: Sequence[HistoryLayer],
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """Store configuration, manifest and index of an image whose layers are in *layout*.

    Equal arguments give equal bytes.

    :param annotations: of the manifest and of the index.
    """
    stored = tuple(step.layer for step in layers if step.layer is not None)
    config_blob = layout.put(canonical.encode(_config_json(config, layers)), CONFIG)
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config_blob.as_json(),
        "layers": [_with_size(layer).as_json() for layer in stored],
    }
    index: dict[str, Any] = {"schemaVersion": 2, "mediaType": INDEX}
    if annotations:
        manifest["annotations"] = index["annotations"] = dict(annotations)
    manifest_blob = layout.put(canonical.encode(manifest), MANIFEST)
    listed = replace(manifest_blob, platform=_platform(config))
    index["manifests"] = [listed.as_json()]
    return Image(layout.put(canonical.encode(index), INDEX), listed, config_blob, stored)


def read_image(layout: Layout, index: Descriptor) -> Image:
    """Read the one container image of *index*; DriverError when it holds several, or is damaged.

    A layer of a foreign image, whose uncompressed size nobody wrote down, is read once to learn
    it, and verified on the way.
    """
    manifests = _member(_document(layout, index), index, "manifests", list)
    listed_images = [m for m in manifests if not (isinstance(m, dict) and m.get(ARTIFACT_TYPE))]
    images = [d for d in map(Descriptor.from_json, listed_images) if d.media_type == MANIFEST]
    if len(images) != 1:
        raise DriverError(
            f"Index {index.digest} holds {len(images)} image manifests instead of one.",
            hint="Name the one for your platform by its own digest.",
        )
    (listed,) = images
    manifest = _document(layout, listed)
    config = Descriptor.from_json(_member(manifest, listed, "config", dict))
    rootfs = _member(_document(layout, config), config, "rootfs", dict)
    diff_ids = _member(rootfs, config, "diff_ids", list)
    blobs = [Descriptor.from_json(v) for v in _member(manifest, listed, "layers", list)]
    if len(blobs) != len(diff_ids):
        raise DriverError(
            f"Image {listed.digest} has {len(blobs)} layers, but {len(diff_ids)} diff_ids."
        )
    layers = tuple(
        _sized_layer(layout, blob, diff_id) for blob, diff_id in zip(blobs, diff_ids, strict=True)
    )
    return Image(index, listed, config, layers)


def _config_json(config: ImageConfig, layers: Sequence[HistoryLayer]) -> dict[str, Any]:
    created = datetime.fromtimestamp(config.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    settings: dict[str, Any] = {
        "User": config.user,
        "ExposedPorts": {port: {} for port in config.ports},
        "Env": [f"{name}={value}" for name, value in config.env],
        "Entrypoint": None if config.entrypoint is None else list(config.entrypoint),
        "Cmd": None if config.cmd is None else list(config.cmd),
        "Volumes": {path: {} for path in config.volumes},
        "WorkingDir": config.working_dir,
        "Labels": dict(config.labels),
        "StopSignal": config.stop_signal,
    }
    if config.healthcheck is not None:
        check = config.healthcheck
        times = {
            "Interval": check.interval_ns,
            "Timeout": check.timeout_ns,
            "StartPeriod": check.start_period_ns,
            "Retries": check.retries,
        }
        settings["Healthcheck"] = {
            "Test": list(check.test),
            **{key: value for key, value in times.items() if value},
        }
    history: list[dict[str, Any]] = []
    for step in layers:
        event: dict[str, Any] = {"created": created, "created_by": step.created_by}
        if step.layer is None:
            event["empty_layer"] = True
        history.append(event)
    return {
        **_platform(config),
        "created": created,
        "config": {key: value for key, value in settings.items() if value},
        "rootfs": {
            "type": "layers",
            "diff_ids": [step.layer.diff_id for step in layers if step.layer is not None],
        },
        "history": history,
    }


def _platform(config: ImageConfig) -> dict[str, str]:
    platform = {"architecture": config.architecture, "os": config.os}
    return {**platform, "variant": config.variant} if config.variant else platform


def _with_size(layer: Layer) -> Descriptor:
    annotations = {**layer.descriptor.annotations, _SIZE: str(layer.size)}
    return replace(layer.descriptor, annotations=annotations)


def _sized_layer(layout: Layout, blob: Descriptor, diff_id: str) -> Layer:
    if blob.media_type != LAYER_GZIP:
        raise DriverError(
            f"Layer {blob.digest} is of type {blob.media_type}, which is not supported.",
            hint="Layers must be tar archives compressed with gzip.",
        )
    others = dict(blob.annotations)
    written = others.pop(_SIZE, "")
    size = int(written) if written.isdecimal() else _uncompressed_size(layout, blob, diff_id)
    return Layer(replace(blob, annotations=others), diff_id, size)


def _uncompressed_size(layout: Layout, blob: Descriptor, diff_id: str) -> int:
    digest, size = hashlib.sha256(), 0
    inflater = zlib.decompressobj(wbits=31)
    with layout.open(blob) as stream:
        pending = stream.read(1 << 20)
        while pending:
            content = inflater.decompress(pending)
            digest.update(content)
            size += len(content)
            pending = inflater.unused_data
            if inflater.eof:
                # A gzip file may have several members (RFC 1952, section 2.2).
                inflater = zlib.decompressobj(wbits=31)
            pending = pending or stream.read(1 << 20)
    if "sha256:" + digest.hexdigest() != diff_id:
        raise DriverError(f"Layer {blob.digest} does not unpack to {diff_id}, as its image says.")
    return size


def _document(layout: Layout, blob: Descriptor) -> dict[str, Any]:
    try:
        value = json.loads(layout.read(blob))
    except ValueError as error:
        raise DriverError(f"Blob {blob.digest} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise DriverError(f"Blob {blob.digest} is not a JSON object.")
    return value


def _member(document: Mapping[str, Any], blob: Descriptor, name: str, kind: type) -> Any:
    value = document.get(name)
    if not isinstance(value, kind):
        raise DriverError(f"Blob {blob.digest} has no {name}.")
    return value
