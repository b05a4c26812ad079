# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bases that exist already: an image pulled by digest, a root filesystem tar, an OCI layout."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Container, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from ..core.errors import DriverError
from ..oci.descriptor import INDEX, Descriptor
from ..oci.layer import Layer, store_layer
from ..oci.layout import Layout
from ..oci.normalise import normalise_tar
from .definition import Archive, Registry
from .engine import Engine

CHUNK = 1 << 20
OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
Imported = tuple[tuple[Layer, ...], int, str]
"""Layers, epoch (seconds since 1970) and suite (VERSION_CODENAME)."""


def import_registry(base: Registry, layout: Layout, engine: Engine) -> Imported:
    """Pull an image by its digest with the engine's own credentials, and take its layers over.

    The layers keep their diff IDs. Raises DriverError when it cannot be pulled.
    """
    engine.runner(["docker", "pull", "--quiet", base.image])
    with tempfile.TemporaryFile() as spool:
        with subprocess.Popen(
            ["docker", "save", base.image], stdin=subprocess.DEVNULL, stdout=spool
        ) as process:
            pass
        if process.returncode != 0:
            raise DriverError(f"The engine could not give {base.image} out.")
        spool.seek(0)
        with tarfile.open(fileobj=spool) as archive:
            manifest = json.load(_member(archive, "manifest.json"))[0]
            config = json.load(_member(archive, manifest["Config"]))
            sources = [_saved(_member(archive, name)) for name in manifest["Layers"]]
            return _take_over(base.image, sources, config, layout)


def import_archive(
    base: Archive,
    layout: Layout,
    *,
    epoch: int | None,
    drop: Callable[[str], bool],
    empty: Container[str],
) -> Imported:
    """Take a root filesystem tar or an OCI layout over, after its digest was verified.

    :param epoch: the latest time in the layer of a tar; None takes that of its newest file. The
        layers of a layout stay as they are.
    """
    if base.path.is_dir():
        return _import_layout(base, layout)
    try:
        opened = base.path.open("rb")
    except OSError as error:
        raise DriverError(
            f"The archive {base.path} cannot be read: {error.strerror}.",
            hint="Correct base.archive.path.",
        ) from error
    with opened as stream:
        found = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
        if found != base.digest:
            raise DriverError(
                f"{base.path} has the digest {found}, but the definition says {base.digest}.",
                hint="Find out which is right before you change base.archive.digest.",
            )
        stream.seek(0)
        newest = _newest(stream, base.path)
        epoch = newest if epoch is None else epoch
        stream.seek(0)
        layer = store_layer(layout, normalise_tar(stream, epoch=epoch, drop=drop, empty=empty))
    if layer is None:
        raise DriverError(f"{base.path} holds no files.")
    return (layer,), epoch, suite_of(layout, [layer])


def _import_layout(base: Archive, layout: Layout) -> Imported:
    source = Layout(base.path)
    descriptor = _find(source, base)
    document = json.loads(source.read(descriptor))
    if "manifests" in document:
        manifests = [Descriptor.from_json(entry) for entry in document["manifests"]]
        images = [m for m in manifests if (m.platform or {}).get("os", "linux") == "linux"]
        if len(images) != 1:
            raise DriverError(
                f"The index {base.digest} in {base.path} holds {len(images)} images.",
                hint="Give the digest of the one manifest that is meant.",
            )
        document = json.loads(source.read(images[0]))
    config = json.loads(source.read(Descriptor.from_json(document["config"])))
    blobs = [Descriptor.from_json(entry) for entry in document["layers"]]
    for blob in blobs:
        if not blob.media_type.endswith(("tar", "tar+gzip", "tar.gzip")):
            raise DriverError(
                f"A layer in {base.path} is of type {blob.media_type}, which cannot be read here.",
                hint="Convert it with: skopeo copy --dest-compress-format gzip.",
            )
    sources = [_decompressed(source.open(blob), blob.media_type) for blob in blobs]
    return _take_over(str(base.path), sources, config, layout)


def _find(source: Layout, base: Archive) -> Descriptor:
    try:
        index = json.loads((base.path / "index.json").read_bytes())
    except FileNotFoundError as error:
        raise DriverError(
            f"{base.path} is a directory, but no OCI image layout: it has no index.json.",
            hint="Correct base.archive.path.",
        ) from error
    known = {entry["digest"]: Descriptor.from_json(entry) for entry in index["manifests"]}
    for several in [d for d in known.values() if d.media_type == INDEX]:
        # The images of an index that is for several platforms, each by its own digest.
        inner = json.loads(source.read(several))["manifests"]
        known = {**{entry["digest"]: Descriptor.from_json(entry) for entry in inner}, **known}
    if base.digest not in known:
        listed = ", ".join(sorted(known)) or "nothing"
        raise DriverError(
            f"{base.path} has no image {base.digest}; its index.json lists {listed}.",
            hint="Correct base.archive.digest.",
        )
    return known[base.digest]


def _take_over(
    name: str, sources: Sequence[Iterator[bytes]], config: dict[str, Any], layout: Layout
) -> Imported:
    diff_ids = config.get("rootfs", {}).get("diff_ids", [])
    if len(diff_ids) != len(sources):
        raise DriverError(f"{name} is damaged: its configuration speaks of other layers.")
    layers = []
    for expected, source in zip(diff_ids, sources, strict=True):
        layer = store_layer(layout, source)
        if layer is None:
            continue  # an empty layer, as some builders write for steps that change nothing
        if layer.diff_id != expected:
            raise DriverError(
                f"{name} is damaged: layer {expected} has the digest {layer.diff_id}."
            )
        layers.append(layer)
    if not layers:
        raise DriverError(f"{name} holds no files.")
    return tuple(layers), _created(config.get("created")), suite_of(layout, layers)


def _created(text: object) -> int:
    """Return an image's RFC 3339 time in seconds since 1970; 0 for none, or for one before."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return 0
    return max(0, int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()))


def suite_of(layout: Layout, layers: Sequence[Layer]) -> str:
    """Return VERSION_CODENAME of the os-release(5) file in *layers*.

    Raises DriverError for a root without apt, which a bake cannot work in.
    """
    for layer in reversed(layers):
        with (
            layout.open(layer.descriptor) as blob,
            gzip.GzipFile(fileobj=blob) as plain,
            tarfile.open(fileobj=plain, mode="r|") as archive,
        ):
            for member in archive:
                if member.isreg() and member.name.removeprefix("./") in OS_RELEASE:
                    stream = archive.extractfile(member)
                    text = stream.read().decode("utf-8", "replace") if stream else ""
                    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
                    suite = values.get("VERSION_CODENAME", "").strip("\"'")
                    if suite:
                        return suite
    raise DriverError(
        "The base has no os-release file with a VERSION_CODENAME.",
        hint="A base must be a Debian or a system made from it, with apt.",
    )


def _newest(stream: IO[bytes], path: Path) -> int:
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            return max((int(member.mtime) for member in archive), default=0)
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise DriverError(f"{path} is no tar archive that can be read: {error}.") from error


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    stream = archive.extractfile(name)
    if stream is None:
        raise DriverError(f"The engine's archive has no file at {name}.")
    return stream


def _saved(stream: IO[bytes]) -> Iterator[bytes]:
    """The tar of a saved layer: engines with the containerd store save it as it was pulled."""
    magic = stream.read(2)
    stream.seek(0)
    return _decompressed(stream, "gzip" if magic == b"\x1f\x8b" else "tar")


def _decompressed(stream: IO[bytes], media_type: str) -> Iterator[bytes]:
    with stream:
        if media_type.endswith("gzip"):
            with gzip.GzipFile(fileobj=stream) as plain:
                yield from _chunks(plain)
        else:
            yield from _chunks(stream)


def _chunks(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk
