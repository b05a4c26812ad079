# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of what the cache holds, one JSON file per key: bases, layers and whole bakes."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..core.canonical import encode
from ..core.errors import DriverError
from ..core.files import write_whole
from ..oci.layer import Layer
from ..oci.layout import Layout

Record = TypeVar("Record")
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class BaseRecord:
    """A base that was made: its layers, and what is known of the system in it."""

    key: str
    layers: tuple[Layer, ...]
    epoch: int
    suite: str
    architecture: str
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The record as JSON-able values."""
        return {
            "key": self.key,
            "layers": [layer.as_json() for layer in self.layers],
            "epoch": self.epoch,
            "suite": self.suite,
            "architecture": self.architecture,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BaseRecord:
        """The inverse of as_json."""
        return cls(
            key=value["key"],
            layers=tuple(Layer.from_json(layer) for layer in value["layers"]),
            epoch=value["epoch"],
            suite=value["suite"],
            architecture=value["architecture"],
            seconds=value["seconds"],
        )


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """A layer that was captured. ``layer`` is None when the role changed nothing.

    ``seconds`` is what running the role and capturing it took; ``manifest`` is what the key is
    the digest of, kept readable so that a later bake can say what changed; ``facts`` are the
    values that the role gave to names which later layers may use.
    """

    key: str
    name: str
    layer: Layer | None
    seconds: float
    manifest: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The record as JSON-able values."""
        return {
            "key": self.key,
            "name": self.name,
            "layer": None if self.layer is None else self.layer.as_json(),
            "seconds": self.seconds,
            "manifest": self.manifest,
            "facts": self.facts,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LayerRecord:
        """The inverse of as_json."""
        layer = value["layer"]
        return cls(
            key=value["key"],
            name=value["name"],
            layer=None if layer is None else Layer.from_json(layer),
            seconds=value["seconds"],
            manifest=value["manifest"],
            facts=value.get("facts", {}),
        )


@dataclass(frozen=True, slots=True)
class BakeRecord:
    """A bake that came to its end: which version the key led to, and the layers' keys.

    ``lock`` is the digest of the layers' locked packages, None without a lock.
    """

    key: str
    name: str
    version: str
    index: str
    config: str
    layer_keys: tuple[str, ...]
    lock: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The record as JSON-able values."""
        return {
            "key": self.key,
            "name": self.name,
            "version": self.version,
            "index": self.index,
            "config": self.config,
            "layer_keys": list(self.layer_keys),
            "lock": self.lock,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BakeRecord:
        """The inverse of as_json."""
        return cls(**{**value, "layer_keys": tuple(value["layer_keys"])})


@dataclass(frozen=True, slots=True)
class Cache:
    """The folder of records. A record whose blobs are gone from *layout* counts as absent.

    Records are written whole, after the blobs they speak of: a killed bake leaves a record that
    holds, or none.
    """

    root: Path
    layout: Layout

    def base(self, key: str) -> BaseRecord | None:
        """The base made under *key*."""
        record = self._read("bases", key, BaseRecord.from_json)
        if record is None or not all(self._holds(layer) for layer in record.layers):
            return None
        return record

    def layer(self, key: str) -> LayerRecord | None:
        """The layer captured under *key*."""
        record = self._read("layers", key, LayerRecord.from_json)
        if record is None or (record.layer is not None and not self._holds(record.layer)):
            return None
        return record

    def bake(self, key: str) -> BakeRecord | None:
        """The bake that ended under *key*."""
        record = self._read("bakes", key, BakeRecord.from_json)
        return record if record is not None and self.layout.has(record.index) else None

    def latest(self, image: str) -> BakeRecord | None:
        """The last bake of *image* that ended here, to compare a new one with."""
        return self._read("latest", image, BakeRecord.from_json)

    def keep_base(self, record: BaseRecord) -> None:
        """Write the record of a base."""
        self._write("bases", record.key, record.as_json())

    def keep_layer(self, record: LayerRecord) -> None:
        """Write the record of a layer."""
        self._write("layers", record.key, record.as_json())

    def keep_bake(self, record: BakeRecord) -> None:
        """Write the record of a bake, and make it the latest of its image."""
        self._write("bakes", record.key, record.as_json())
        self._write("latest", record.name, record.as_json())

    def attested(self, index: str) -> Mapping[str, Any] | None:
        """What was asked when the version of that index was attested; None when unknown."""
        return self._read("attested", index, dict)

    def keep_attested(self, index: str, asked: Mapping[str, Any]) -> None:
        """Note that all that is *asked* has been said of the version of that index."""
        self._write("attested", index, asked)

    def note_use(self, kind: str, key: str) -> None:
        """Note that the record (bases, layers) was of use; to the day, which costs a look at most.

        The note is a file of its own: when a base was made is what its record's time says.
        """
        path = self.use_path(kind, key)
        now = time.time()
        with contextlib.suppress(FileNotFoundError):
            if now - path.stat().st_mtime < _DAY:
                return
        # A note that cannot be made must not fail a bake: the record goes early at worst.
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def use_path(self, kind: str, key: str) -> Path:
        """The file whose time is that of the last noted use of a record."""
        return self.root / "used" / kind / key.removeprefix("sha256:")

    def _holds(self, layer: Layer) -> bool:
        return self.layout.has(layer.descriptor.digest)

    def record_path(self, kind: str, key: str) -> Path:
        """The file of the record of *kind* (bases, layers, bakes, latest) under *key*."""
        return self.root / kind / (key.removeprefix("sha256:") + ".json")

    def _read(
        self, kind: str, key: str, from_json: Callable[[Mapping[str, Any]], Record]
    ) -> Record | None:
        try:
            content = self.record_path(kind, key).read_bytes()
        except FileNotFoundError:
            return None
        try:
            return from_json(json.loads(content))
        except (ValueError, LookupError, TypeError, AttributeError, DriverError):
            # A record is an aid, not a source: one that is damaged is made again.
            return None

    def _write(self, kind: str, key: str, value: Mapping[str, Any]) -> None:
        write_whole(self.record_path(kind, key), encode(value) + b"\n")
