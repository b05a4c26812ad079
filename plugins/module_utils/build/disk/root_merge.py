# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program of its own: it makes one tar of layers, where a tool makes a file system of that.

It is run by the toolbox's Python, and so imports nothing of ours. Layers come as they are stored:
the engine carries a third of the bytes, and what inflates them there takes half of the time.

Standard input is a plan, one line of JSON; the beginning of the tar; and the layers one after the
other. The command to run gets the tar, and its exit status is this program's.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

try:
    from isal import isal_zlib as zlib  # type: ignore[import-not-found, unused-ignore]  # Debian's
except ImportError:
    import zlib

BLOCK = 512
_CHUNK = 64 << 10
_PIPE_BYTES = 1 << 20

Write = Callable[[Any], object]


class Pieces:
    """Bytes that come in pieces of any size, taken in pieces of the size that is asked for."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def some(self, size: int) -> Iterator[memoryview]:
        """Yield *size* bytes; EOFError when there are fewer."""
        while size:
            if not self._rest:
                chunk = next(self._chunks, b"")
                if not chunk:
                    raise EOFError("it ends early")
                self._rest = memoryview(chunk)
            piece = self._rest[:size]
            self._rest = self._rest[size:]
            size -= len(piece)
            yield piece

    def take(self, size: int) -> bytes:
        """Return *size* bytes."""
        if len(self._rest) >= size:
            piece = self._rest[:size]
            self._rest = self._rest[size:]
            return bytes(piece)
        return b"".join(self.some(size))

    def end(self) -> None:
        """Pass over all that is left."""
        self._rest = memoryview(b"")
        for _chunk in self._chunks:
            continue


def inflated(source: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield what the next *size* bytes of *source* are without gzip (RFC 1952)."""
    inflater = None
    while size:
        data = source.read(min(size, _CHUNK))
        if not data:
            raise EOFError("a layer ends early")
        size -= len(data)
        while data:
            inflater = inflater or zlib.decompressobj(wbits=31)
            content = inflater.decompress(data)
            if content:
                yield content
            data = b""
            if inflater.eof:
                # A gzip file may have several members (section 2.2).
                data, inflater = inflater.unused_data, None
    if inflater is not None:
        raise EOFError("a layer ends early")


def members(tar: Pieces) -> Iterator[tuple[bytes, str, int]]:
    """Yield header, path and size of each file; who gets it takes the content before the next one.

    The path is relative and has no ``.`` parts; the content is followed by zeros to a whole block.
    ValueError for what our layers never hold.
    """
    extended = b""
    path: str | None = None
    long_size: int | None = None
    while (header := tar.take(BLOCK)).count(0) != BLOCK:
        kind = header[156:157]
        size = _number(header[124:136])
        if kind in (b"x", b"L", b"K", b"g"):
            content = tar.take(_padded(size))
            extended += header + content
            if kind == b"L":
                path = _text(content[:size].rstrip(b"\0"))
            elif kind == b"x":
                records = dict(_records(content[:size]))
                if any(key.startswith("GNU.sparse") for key in records):
                    raise ValueError("a sparse file is in a layer")
                path = records.get("path", path)
                long_size = int(records["size"]) if "size" in records else None
            continue
        if kind == b"S":
            raise ValueError("a sparse file is in a layer")
        size = size if long_size is None else long_size
        if kind in (b"0", b"\0", b"7"):
            yield extended + header, member_path(_name(header) if path is None else path), size
        extended, path, long_size = b"", None, None
    tar.end()


def merge(source: BinaryIO, write: Write) -> None:
    """Read plan and layers from *source* and write the tar; files that are kept are written too."""
    plan = json.loads(source.readline())
    left = plan["head"]
    while left:
        head = source.read(left)
        if not head:
            raise EOFError("the beginning of the tar ends early")
        left -= len(head)
        write(head)
    for layer in plan["layers"]:
        _layer(layer, Pieces(inflated(source, layer["bytes"])), write)
    write(bytes(2 * BLOCK))


def _layer(layer: dict[str, Any], tar: Pieces, write: Write) -> None:
    as_is, special = set(layer["as_is"]), layer["special"]
    for header, path, size in members(tar):
        if path in as_is:
            as_is.remove(path)
            write(header)
            for piece in tar.some(_padded(size)):
                write(piece)
        elif path in special:
            _special(special.pop(path), tar.take(_padded(size))[:size], write)
        else:
            for _piece in tar.some(_padded(size)):
                continue
    if as_is or special:
        raise ValueError(f"layer {layer['digest']} lacks {', '.join(sorted({*as_is, *special}))}")


def _special(asked: dict[str, Any], content: bytes, write: Write) -> None:
    if asked["content"] is not None:
        content = asked["content"].encode("latin-1")
    for name in asked["kept"]:
        with open(name, "wb") as file:
            file.write(content)
    if asked["header"]:
        write(asked["header"].encode("latin-1"))
        write(content)
        write(bytes(_padded(len(content)) - len(content)))
    write(asked["links"].encode("latin-1"))


def member_path(name: str) -> str:
    """Return the path of a member from its *name* in a tar."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    # In GNU's form there is something else behind it.
    if header[257:263] == b"ustar\0" and header[345]:
        name = header[345:500].partition(b"\0")[0] + b"/" + name
    return _text(name)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _records(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield the records of a PAX header (POSIX.1-2001, "pax Extended Header")."""
    while content:
        length = int(content[: content.index(b" ")])
        key, _equals, value = content[content.index(b" ") + 1 : length - 1].partition(b"=")
        yield _text(key), _text(value)
        content = content[length:]


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def main(argv: list[str]) -> int:
    """Run *argv* with the tar as its standard input; return its status."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, bufsize=_PIPE_BYTES) as tool:
        stdin: Any = tool.stdin
        fcntl.fcntl(stdin.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        try:
            merge(sys.stdin.buffer, stdin.write)
            stdin.close()
        except BrokenPipeError:
            # It ended early, and has said why.
            with contextlib.suppress(BrokenPipeError):
                stdin.close()
        except BaseException:
            tool.kill()
            raise
    return tool.returncode or 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
