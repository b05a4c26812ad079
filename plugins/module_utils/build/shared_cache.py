# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of this home, and behind it those that are shared with other machines.

What comes from elsewhere is verified before it is kept: a record must be of the key that was asked
for, each blob must have its digest and size, and unpack to the tar that the record says. A cache
that fails in that, or does not answer, is named and passed over: the layer is then run, as if the
cache had nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO, TypeVar

from ..core.canonical import encode
from ..core.errors import DriverError
from ..core.files import locked
from ..oci.layer import Layer
from .home import Home
from .records import BaseRecord, Cache, LayerRecord
from .remote_cache import RemoteCache

Record = TypeVar("Record", BaseRecord, LayerRecord)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class SharedCache:
    """Looks records up in this home and then elsewhere.

    :param sources: asked in this order for what the home does not have.
    :param say: told in one sentence of a cache that is of no use.
    :param fetched: the keys of the records that were taken over.
    """

    home: Home
    local: Cache
    sources: Sequence[RemoteCache]
    say: Callable[[str], None]
    fetched: list[str] = field(default_factory=list)

    def base(self, key: str) -> BaseRecord | None:
        """The base made under *key*, as far as can be told without taking it over."""
        return self.local.base(key) or self._peek("bases", key, _read_base)

    def layer(self, key: str) -> LayerRecord | None:
        """The layer captured under *key*, as far as can be told without taking it over."""
        return self.local.layer(key) or self._peek("layers", key, _read_layer)

    def fetch_base(self, key: str) -> BaseRecord | None:
        """The base made under *key*; its blobs are in this home then."""
        found = self.local.base(key)
        if found is None and self.sources:
            found = self._fetch("bases", key, _read_base, self.local.base, self._keep_base)
        return found

    def fetch_layer(self, key: str) -> LayerRecord | None:
        """The layer captured under *key*; its blob is in this home then."""
        found = self.local.layer(key)
        if found is None and self.sources:
            found = self._fetch("layers", key, _read_layer, self.local.layer, self.local.keep_layer)
        return found

    def _peek(self, kind: str, key: str, read: Callable[[bytes], Record]) -> Record | None:
        for source in self.sources:
            found = self._ask(source, kind, key, read)
            if found is not None:
                return found
        return None

    def _fetch(
        self,
        kind: str,
        key: str,
        read: Callable[[bytes], Record],
        known: Callable[[str], Record | None],
        keep: Callable[[Record], None],
    ) -> Record | None:
        # Images that are baked side by side have layers in common: one takes them over.
        with locked(self.home.locks / f"fetch-{key.removeprefix('sha256:')[:16]}"):
            found = known(key)
            if found is not None:
                return found
            for source in self.sources:
                found = self._ask(source, kind, key, read)
                if found is not None and self._take_over(source, found):
                    keep(found)
                    self.fetched.append(key)
                    return found
        return None

    def _ask(
        self, source: RemoteCache, kind: str, key: str, read: Callable[[bytes], Record]
    ) -> Record | None:
        """Return the record that *source* has, if it is one and its blobs are there."""
        try:
            content = source.record(kind, key)
            if content is None:
                return None
            try:
                found = read(content)
            except (ValueError, LookupError, TypeError, AttributeError, DriverError) as error:
                self._passed_over(source, f"its record of {key} cannot be read: {error}")
                return None
            if found.key != key:
                self._passed_over(source, f"its record of {key} names another, {found.key}")
                return None
            if all(source.has_blob(layer.descriptor) for layer in _layers(found)):
                return found
        except (OSError, DriverError) as error:
            self._passed_over(source, str(error))
        return None

    def _take_over(self, source: RemoteCache, record: BaseRecord | LayerRecord) -> bool:
        self.local.layout.ensure()
        for layer in _layers(record):
            try:
                stream = source.open_blob(layer.descriptor)
            except (OSError, DriverError) as error:
                self._passed_over(source, str(error))
                return False
            with stream, self.local.layout.writer() as writer:
                for chunk in self._given(source, stream):
                    writer.write(chunk)
                if writer.size != layer.descriptor.size:
                    return False  # it was said why
                writer.commit(layer.descriptor.media_type)
            if not self._unpacks(source, layer):
                return False
        return True

    def _given(self, source: RemoteCache, stream: BinaryIO) -> Iterator[bytes]:
        """Yield what *source* gives; it ends early, which is said, when that is not the blob."""
        while True:
            try:
                chunk = stream.read(_CHUNK)
            except (OSError, DriverError) as error:
                self._passed_over(source, str(error))
                return
            if not chunk:
                return
            yield chunk

    def _unpacks(self, source: RemoteCache, layer: Layer) -> bool:
        """Whether the blob, which is here now, holds the tar that the record speaks of."""
        found, size = hashlib.sha256(), 0
        try:
            with (
                self.local.layout.open(layer.descriptor) as stream,
                gzip.GzipFile(fileobj=stream) as tar,
            ):
                while size <= layer.size and (chunk := tar.read(_CHUNK)):
                    found.update(chunk)
                    size += len(chunk)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            size = -1
        if size == layer.size and f"sha256:{found.hexdigest()}" == layer.diff_id:
            return True
        self._passed_over(
            source, f"blob {layer.descriptor.digest} does not unpack to {layer.diff_id}, as it says"
        )
        return False

    def _keep_base(self, record: BaseRecord) -> None:
        self.local.keep_base(record)
        # Its time says when a base was made: that was not now, so kiln_refresh makes it anew.
        os.utime(self.local.record_path("bases", record.key), (0, 0))
        self.local.note_use("bases", record.key)

    def _passed_over(self, source: RemoteCache, why: str) -> None:
        self.say(f"The shared cache {source.name} is not used for a layer: {why.rstrip('.')}.")


def push(
    target: RemoteCache, local: Cache, record: BaseRecord | LayerRecord, *, replace: bool
) -> bool:
    """Leave *record* and its blobs in *target*; say whether there was anything to do.

    :param replace: also what it has under these names: a layer that was run although the cache
        had it is one that the cache has not got right.

    The blobs are verified while they are read. Raises OSError or DriverError as *target* does.
    """
    kind = "bases" if isinstance(record, BaseRecord) else "layers"
    content = encode(record.as_json()) + b"\n"
    there = target.record(kind, record.key)
    changed = False
    for layer in _layers(record):
        if replace or not target.has_blob(layer.descriptor):
            target.put_blob(layer.descriptor, partial(local.layout.open, layer.descriptor))
            changed = True
    if there is None or (replace and there != content):
        blobs = [layer.descriptor for layer in _layers(record)]
        target.put_record(kind, record.key, content, blobs)
        changed = True
    return changed


def _layers(record: BaseRecord | LayerRecord) -> tuple[Layer, ...]:
    if isinstance(record, BaseRecord):
        return record.layers
    return () if record.layer is None else (record.layer,)


def _read_base(content: bytes) -> BaseRecord:
    return BaseRecord.from_json(json.loads(content))


def _read_layer(content: bytes) -> LayerRecord:
    return LayerRecord.from_json(json.loads(content))
