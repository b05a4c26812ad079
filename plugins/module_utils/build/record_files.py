# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache seen as files: which records there are, and which blobs each of them needs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DriverError
from .records import BakeRecord, BaseRecord, Cache, LayerRecord

KINDS = ("bases", "layers", "bakes", "latest")


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A record as it lies in the cache.

    :param kind: bases, layers, bakes or latest.
    :param label: what it is, for a reader: ``layer nginx 1f3a...``.
    :param blobs: digest and size of each layer that it names.
    :param bake: for bakes and latest, the bake that it speaks of.
    :param used: when it was last written or of use, in seconds since 1970.
    :param flaw: why it cannot be used, None when it can.
    """

    kind: str
    path: Path
    label: str
    blobs: Mapping[str, int]
    bake: BakeRecord | None
    used: float
    size: int
    flaw: str | None = None

    @property
    def key(self) -> str:
        """The key that the file is named after."""
        return self.path.stem


def record_files(cache: Cache) -> Iterator[RecordFile]:
    """Yield every record of *cache*, those that are damaged too."""
    for kind in KINDS:
        for path in sorted((cache.root / kind).glob("[!.]*.json")):
            yield _record_file(cache, kind, path)


def half_written(cache: Cache) -> list[Path]:
    """Return what killed writers of records left; only for who has the store alone."""
    return sorted(cache.root.glob("*/.*.partial"))


def lock_notes(cache: Cache) -> dict[Path, str | None]:
    """Return what was noted of locks and of the packages of bases, and why each is of no use.

    Both are made again when they are not there: the first from the lock, the second by a refresh.
    """
    wanted = {"locks": {"base", "layers"}, "base-packages": {"packages", "sources"}}
    found: dict[Path, str | None] = {}
    for folder, names in wanted.items():
        for path in sorted((cache.root / folder).glob("[!.]*.json")):
            try:
                document = json.loads(path.read_bytes())
                found[path] = None if names <= set(document) else "it lacks what it is to note"
            except (ValueError, TypeError) as error:
                found[path] = f"it cannot be read: {error}"
    return found


def unclaimed_notes(cache: Cache) -> list[Path]:
    """Return the notes of use whose records are gone, and of attesting whose versions are."""
    uses = [
        path
        for kind in ("bases", "layers")
        for path in sorted((cache.root / "used" / kind).glob("*"))
        if not cache.record_path(kind, path.name).exists()
    ]
    attested = sorted((cache.root / "attested").glob("[!.]*.json"))
    return [*uses, *(path for path in attested if not cache.layout.has(f"sha256:{path.stem}"))]


def _record_file(cache: Cache, kind: str, path: Path) -> RecordFile:
    status = path.stat()
    used = status.st_mtime
    note = cache.use_path(kind, path.stem)
    if note.exists():
        used = max(used, note.stat().st_mtime)
    label = f"{_NOUNS[kind]} {path.stem[:12]}"
    try:
        document = json.loads(path.read_bytes())
        label, key, blobs, bake = _content(kind, document, label)
    except (ValueError, LookupError, TypeError, AttributeError, DriverError) as error:
        unread = f"it cannot be read: {error}"
        return RecordFile(kind, path, label, {}, None, used, status.st_size, unread)
    flaw = None if key.removeprefix("sha256:") == path.stem else f"it names another key, {key}"
    return RecordFile(kind, path, label, blobs, bake, used, status.st_size, flaw)


_NOUNS = {"bases": "base", "layers": "layer", "bakes": "bake", "latest": "latest bake"}


def _content(
    kind: str, document: Any, label: str
) -> tuple[str, str, dict[str, int], BakeRecord | None]:
    """Return label, key, blobs and bake of a record; raises what a malformed one makes."""
    if kind == "bases":
        base = BaseRecord.from_json(document)
        blobs = {layer.descriptor.digest: layer.descriptor.size for layer in base.layers}
        return f"base {base.suite} {base.key[7:19]}", base.key, blobs, None
    if kind == "layers":
        layer = LayerRecord.from_json(document)
        found = layer.layer.descriptor if layer.layer is not None else None
        blobs = {} if found is None else {found.digest: found.size}
        return f"layer {layer.name} {layer.key[7:19]}", layer.key, blobs, None
    bake = BakeRecord.from_json(document)
    key = bake.key if kind == "bakes" else bake.name
    return f"{_NOUNS[kind]} {bake.name} {bake.version}", key, {}, bake
