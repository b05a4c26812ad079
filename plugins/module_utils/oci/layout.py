# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An OCI image layout on local disk, safe for several processes at once."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ..core import canonical
from ..core.errors import DriverError
from ..core.files import locked, sync_directory, write_whole
from .damage import DamagedBlob, MissingBlob, examine
from .descriptor import INDEX, REF_NAME, Descriptor
from .digest import parse

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_VERSION = {"imageLayoutVersion": "1.0.0"}
_EMPTY_INDEX: dict[str, Any] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ_BYTES = 1 << 20

# annotations.md, org.opencontainers.image.ref.name
_COMPONENT = "[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*"
_REF_NAME = re.compile(f"{_COMPONENT}(?:/{_COMPONENT})*")


@dataclass(frozen=True, slots=True)
class Layout:
    """A directory in the OCI image layout (image-spec v1.1, image-layout.md).

    Beside what the specification names, it holds ``ingest/``: blobs being written, each locked
    by its writer, and the lock files; ``quarantine/``: files that were found not to be the blob
    of their name; and ``listings/``: what layers hold. A blob gets its name only when it is whole
    and durable.
    """

    root: Path

    def ensure(self) -> None:
        """Make the directory a layout if it is none yet; DriverError when it cannot be one."""
        try:
            (self.root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            self._ingest.mkdir(exist_ok=True)
            marker = self.root / "oci-layout"
            if not (marker.exists() and self._index_path.exists()):
                with self._index_locked():
                    if not self._index_path.exists():
                        self._write_index(_EMPTY_INDEX)
                    if not marker.exists():
                        write_whole(marker, canonical.encode(_VERSION))
        except OSError as error:
            reason = error.strerror or str(error)
            raise DriverError(f"Cannot make an image layout of {self.root}: {reason}.") from error
        if _json_object(marker).get("imageLayoutVersion") != "1.0.0":
            raise DriverError(
                f"{marker} is not of version 1.0.0 of the OCI image layout.",
                hint="Use another directory for the store.",
            )

    def path(self, digest: str) -> Path:
        """Return where the blob of *digest* is, or would be."""
        algorithm, value = parse(digest)
        return self.root / "blobs" / algorithm / value

    def has(self, digest: str) -> bool:
        """Say whether the blob is there. A blob that is there is whole."""
        try:
            self.path(digest).stat()
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """Give a BlobWriter; what was not committed when the block ends is gone."""
        with self._room_for("a new blob", lambda: 0), locked(self._ingest_lock, shared=True):
            # The shared lock keeps sweep_partials away until the new file has its own lock.
            fd, name = tempfile.mkstemp(suffix=".partial", dir=self._ingest)
            fcntl.flock(fd, fcntl.LOCK_EX)
        with open(fd, "wb", buffering=0) as stream:
            writer = BlobWriter(self, stream, Path(name))
            try:
                yield writer
            finally:
                # Removed while still locked; a committed file has moved to its final name.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)

    def put(self, content: bytes, media_type: str) -> Descriptor:
        """Store *content* as a blob and return its descriptor."""
        with self.writer() as writer:
            writer.write(content)
            return writer.commit(media_type)

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """Open a blob for reading, verified against *descriptor* while it is read.

        Raises MissingBlob or DamagedBlob at once when it is missing or of another size, and
        DamagedBlob in the read that reaches its last byte when its digest is another one.
        """
        path = self.path(descriptor.digest)
        try:
            stream = open(path, "rb", buffering=0)  # noqa: SIM115 - handed to the caller
        except FileNotFoundError as error:
            raise MissingBlob(
                f"Blob {descriptor.digest} is missing from {self.root}.",
                descriptor.digest,
                self.root,
                hint="Bake or pull the image again.",
            ) from error
        try:
            reader = _VerifyingReader(stream, descriptor, path)
        except BaseException:
            stream.close()
            raise
        return cast(BinaryIO, io.BufferedReader(reader, buffer_size=_READ_BYTES))

    def read(self, descriptor: Descriptor) -> bytes:
        """Return the verified content of a blob; errors as for open."""
        with self.open(descriptor) as stream:
            return stream.read()

    def digests(self) -> list[str]:
        """Return the digests of all blobs, in their order; files of other names are passed over."""
        found = []
        for folder in sorted((self.root / "blobs").glob("*")):
            for path in folder.iterdir():
                with contextlib.suppress(DriverError):
                    found.append(":".join(parse(f"{folder.name}:{path.name}")))
        return sorted(found)

    def set_aside(self, digest: str) -> Path | None:
        """Move the blob of *digest* to ``quarantine/`` if its content is not what its name says.

        Returns where it is then, or None when it is not there or is whole. A good blob that a
        writer puts in its place meanwhile stays.
        """
        path = self.path(digest)
        found = examine(path, digest)
        if found is None or found.flaw is None:
            return None
        target = self.quarantine / path.name
        target.parent.mkdir(exist_ok=True)
        with self._naming_locked():
            try:
                now = path.stat()
            except FileNotFoundError:
                return None
            if (now.st_dev, now.st_ino) != found.identity:
                return None
            os.replace(path, target)
            # From now on it has been kept this long; see the collection of garbage.
            os.utime(target)
        sync_directory(path.parent)
        return target

    @property
    def quarantine(self) -> Path:
        """Where damaged blobs are kept for who wants to know what happened to them."""
        return self.root / "quarantine"

    @property
    def listings(self) -> Path:
        """Where what was read out of layers is kept, to save reading them again."""
        return self.root / "listings"

    def tags(self) -> dict[str, Descriptor]:
        """Return what index.json names, by its org.opencontainers.image.ref.name."""
        found = {}
        for item in self._manifests(self._read_index()):
            descriptor = Descriptor.from_json(item)
            others = dict(descriptor.annotations)
            name = others.pop(REF_NAME, None)
            if name is not None:
                found[name] = replace(descriptor, annotations=others)
        return found

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Let *name* mean *descriptor* in index.json, instead of what it meant before."""
        if _REF_NAME.fullmatch(name) is None:
            raise DriverError(
                f"{name!r} cannot name an image in a layout.",
                hint="Use letters and digits, joined by single . - _ : @ + or /.",
            )
        entry = replace(descriptor, annotations={**descriptor.annotations, REF_NAME: name})
        self._rename(name, entry)

    def untag(self, name: str) -> None:
        """Remove *name* from index.json, if it is there; the blobs stay."""
        self._rename(name, None)

    def sweep_partials(self) -> int:
        """Remove what writers that no longer live left behind; return how many files."""
        count = 0
        with locked(self._ingest_lock):
            for path in sorted(self._ingest.glob("*.partial")):
                try:
                    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    continue
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink(missing_ok=True)
                    count += 1
                except BlockingIOError:
                    continue
                finally:
                    os.close(fd)
        with self._index_locked():
            for path in sorted(self.root.glob(".*.partial")):
                path.unlink(missing_ok=True)
                count += 1
        return count

    @property
    def _ingest(self) -> Path:
        return self.root / "ingest"

    @property
    def _ingest_lock(self) -> Path:
        return self._ingest / "lock"

    @property
    def _index_path(self) -> Path:
        return self.root / "index.json"

    def _naming_locked(self, *, shared: bool = False) -> contextlib.AbstractContextManager[None]:
        """Hold what lets files get (shared) or lose (alone) the name of a blob."""
        return locked(self._ingest / "naming.lock", shared=shared)

    def _index_locked(self) -> contextlib.AbstractContextManager[None]:
        return locked(self._ingest / "index.lock")

    def _read_index(self) -> dict[str, Any]:
        try:
            return _json_object(self._index_path)
        except FileNotFoundError as error:
            raise DriverError(f"{self.root} is not an OCI image layout.") from error

    def _manifests(self, index: Mapping[str, Any]) -> list[dict[str, Any]]:
        manifests = index.get("manifests")
        if not isinstance(manifests, list):
            raise DriverError(f"{self._index_path} has no list of manifests.")
        return manifests

    def _rename(self, name: str, entry: Descriptor | None) -> None:
        with self._index_locked():
            index = self._read_index()
            before = self._manifests(index)
            after = [m for m in before if (m.get("annotations") or {}).get(REF_NAME) != name]
            if entry is not None:
                after.append(entry.as_json())
            after.sort(key=lambda m: (m.get("annotations") or {}).get(REF_NAME, ""))
            if after != before:
                self._write_index({**index, "manifests": after})

    def _write_index(self, index: Mapping[str, Any]) -> None:
        content = canonical.encode(index)
        with self._room_for("index.json", lambda: len(content)):
            write_whole(self._index_path, content)

    @contextlib.contextmanager
    def _room_for(self, what: str, written: Callable[[], int]) -> Iterator[None]:
        """Turn a full disk into a DriverError that says what was written, and where."""
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise DriverError(
                f"No space is left in {self.root}: it was full after {written()} bytes of {what}.",
                hint="Free space on that file system, or prune the store, and run it again.",
                details={"path": str(self.root), "bytes": written()},
            ) from error


class BlobWriter:
    """Writes one blob of a layout; made by Layout.writer."""

    def __init__(self, layout: Layout, stream: io.FileIO, path: Path) -> None:
        self._layout = layout
        self._stream = stream
        self._path = path
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        """The digest of what was written until now."""
        return "sha256:" + self._hash.hexdigest()

    def write(self, content: bytes | bytearray | memoryview) -> None:
        """Append *content*; DriverError when the disk is full."""
        self._hash.update(content)
        view = memoryview(content).cast("B")
        with self._room():
            while view:
                count = self._stream.write(view)
                self.size += count
                view = view[count:]

    def commit(self, media_type: str, annotations: Mapping[str, str] | None = None) -> Descriptor:
        """Make what was written a blob, durably, and return its descriptor.

        A blob that has this digest already is kept, unless its size shows that it is damaged.
        """
        digest = self.digest
        final = self._layout.path(digest)
        # Set_aside must not take away what is put here, nor this count on what that takes away.
        with self._layout._naming_locked(shared=True):
            if not final.exists() or final.stat().st_size != self.size:
                with self._room():
                    os.fchmod(self._stream.fileno(), 0o644)
                    os.fsync(self._stream.fileno())
                    os.replace(self._path, final)
        sync_directory(final.parent)
        return Descriptor(media_type, digest, self.size, annotations or {})

    def _room(self) -> contextlib.AbstractContextManager[None]:
        return self._layout._room_for("a blob", lambda: self.size)


class _VerifyingReader(io.RawIOBase):
    """Reads a file and hashes what goes by; the last byte is given only if the digest is right."""

    def __init__(self, stream: io.FileIO, descriptor: Descriptor, path: Path) -> None:
        super().__init__()
        self._stream = stream
        self._descriptor = descriptor
        self._path = path
        self._left = descriptor.size
        self._hash = hashlib.new(parse(descriptor.digest)[0])
        size = os.fstat(stream.fileno()).st_size
        if size != descriptor.size:
            raise self._damaged(f"it has {size} bytes instead of {descriptor.size}")
        if size == 0:
            self._verify()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")[: self._left]
        if not view:
            return 0
        count = self._stream.readinto(view)
        if count == 0:
            raise self._damaged(f"it ended {self._left} bytes early")
        self._hash.update(view[:count])
        self._left -= count
        if self._left == 0:
            self._verify()
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()

    def _verify(self) -> None:
        actual = self._hash.hexdigest()
        if actual != parse(self._descriptor.digest)[1]:
            raise self._damaged(f"its content has the digest {actual}")

    def _damaged(self, how: str) -> DamagedBlob:
        return DamagedBlob(
            f"Blob {self._descriptor.digest} in {self._path.parent} is damaged: {how}.",
            self._descriptor.digest,
            self._path.parents[2],
            hint=f"Remove {self._path} and bake or pull the image again.",
        )


def _json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise DriverError(f"{path} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise DriverError(f"{path} is not a JSON object.")
    return value
