# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures what changed in a root filesystem as a normalised OCI layer tar.

The whole program is this file and the standard library (Python 3.11 or newer): its text is sent
into a build container and run there as ``python3 -I -c TEXT``.

``snapshot`` records a stat signature of every entry; ``capture`` writes to standard output a tar
of what differs since, and then takes the next snapshot. What is mounted below the root, what the
exclusion patterns match, and sockets are invisible to both: neither recorded, nor written, nor
missed when they go away.

The first part of the file, the normal form of a tar entry, is the one that every layer of ours
has; the controller imports it from here.
"""

from __future__ import annotations

import argparse
import errno
import fnmatch
import gc
import json
import os
import re
import stat
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, BinaryIO

FILE, HARD_LINK, SYMLINK, CHAR_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO = (
    bytes([digit]) for digit in b"0123456"
)
WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
END_OF_TAR = bytes(1024)
READ_BYTES = 1 << 20
ZEROS = bytes(READ_BYTES)

_USTAR = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHAR_DEVICE,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFIFO: FIFO,
}
_STATE_VERSION = 2
# A file's ctime advances with the kernel's tick, which is at most 10 ms.
_TICK_NS = 20_000_000


class CaptureError(Exception):
    """What cannot be captured, and why, as one sentence."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A tar entry in our normal form.

    :param name: relative to the root, without ``./`` or a slash at the end; empty for the root.
    :param kind: the type flag of POSIX.1 ustar.
    :param mode: the twelve permission bits.
    :param mtime: whole seconds since the epoch.
    :param link: the target of a symbolic link as it is, or the name of the first hard link.
    """

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int = 0
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict, hash=False)

    def header(self) -> bytes:
        """Return the blocks before the content: ustar, and PAX where that does not suffice.

        Raises CaptureError for what neither can express.
        """
        name = self.name or b"."
        if self.kind == DIRECTORY:
            name += b"/"
        records = {b"SCHILY.xattr." + key: value for key, value in self.xattrs.items()}
        if any(b"=" in key for key in self.xattrs):
            raise CaptureError(
                f"{shown(self.name)} has an extended attribute with = in its name, which a tar"
                " cannot hold."
            )
        prefix, short = _split(name)
        if not short:
            records[b"path"] = name
            short = _ascii(name)
        link = self.link
        if len(link) > 100 or not link.isascii():
            records[b"linkpath"] = link
            link = _ascii(link)
        numbers = {b"uid": self.uid, b"gid": self.gid, b"size": self.size}
        for key, value in numbers.items():
            if value > (0o77777777777 if key == b"size" else 0o7777777):
                records[key] = b"%d" % value
                numbers[key] = 0
        owner = (self.mode, numbers[b"uid"], numbers[b"gid"])
        device = (self.major, self.minor)
        block = _ustar(
            short,
            self.kind,
            owner=owner,
            size=numbers[b"size"],
            mtime=self.mtime,
            link=link,
            device=device,
            prefix=prefix,
        )
        if not records:
            return block
        text = _pax(records)
        before = _ustar(b"././@PaxHeader", b"x", owner=(0o644, 0, 0), size=len(text))
        return before + text + padding(len(text)) + block


def padding(size: int) -> bytes:
    """Return the zeros that follow *size* bytes of content, up to the next block."""
    return bytes(-size % 512)


def whiteout(name: bytes, epoch: int) -> bytes:
    """Return the header of the marker file *name*."""
    return Entry(name, FILE, 0, 0, 0, epoch).header()


def refuse_whiteout(name: bytes) -> None:
    """Raise CaptureError when readers of a layer would take *name* for a whiteout."""
    if name.rpartition(b"/")[2].startswith(WHITEOUT):
        raise CaptureError(
            f"{shown(name)} cannot be in a layer, where a name that begins with .wh. means a"
            " removal: rename or remove it."
        )


def order(name: bytes) -> bytes:
    """Return the sort key of *name*: a directory, then all that is below it; names by bytes."""
    return name.replace(b"/", b"\0")


def clamp(mtime: float, epoch: int) -> int:
    """Return *mtime* in whole seconds, between 0 and *epoch*."""
    return max(0, min(int(mtime // 1), epoch))


def kept_xattr(name: bytes) -> bool:
    """Say whether an extended attribute belongs to the content rather than to its host."""
    if name.startswith(b"user."):
        return not name.startswith(b"user.overlay.")
    return name == b"security.capability" or name.startswith(b"system.posix_acl_")


def shown(name: bytes) -> str:
    """Return *name* for a message, whatever bytes it holds."""
    return name.decode("utf-8", "backslashreplace") or "/"


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Split *name* into ustar's prefix and name; both are empty when it does not fit."""
    if not name.isascii():
        return b"", b""
    if len(name) <= 100:
        return b"", name
    cut = name.find(b"/", len(name) - 101, -1)
    if not 0 < cut <= 155:
        return b"", b""
    return name[:cut], name[cut + 1 :]


def _ascii(name: bytes) -> bytes:
    return re.sub(rb"[\x80-\xff]", b"?", name)[:100]


def _ustar(
    name: bytes,
    kind: bytes,
    *,
    owner: tuple[int, int, int],
    size: int,
    mtime: int = 0,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
    prefix: bytes = b"",
) -> bytes:
    block = _USTAR.pack(
        name,
        *(b"%07o" % number for number in owner),
        b"%011o" % size,
        b"%011o" % mtime,
        b" " * 8,
        kind,
        link,
        b"ustar\00000",
        b"",
        b"",
        *(b"%07o" % number for number in device),
        prefix,
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _pax(records: Mapping[bytes, bytes]) -> bytes:
    lines = [_pax_record(key, records[key]) for key in sorted(records)]
    try:
        for key in (b"path", b"linkpath"):
            records.get(key, b"").decode()
    except UnicodeDecodeError:
        # A name that is not UTF-8: POSIX lets the header say so, and takes the bytes as they are.
        lines.insert(0, _pax_record(b"hdrcharset", b"BINARY"))
    return b"".join(lines)


def _pax_record(key: bytes, value: bytes) -> bytes:
    rest = b" %b=%b\n" % (key, value)
    size = len(rest)
    while size != len(rest) + len(str(size)):
        size = len(rest) + len(str(size))
    return b"%d%b" % (size, rest)


@dataclass(frozen=True, slots=True)
class Node:
    """An entry of the root as the walk found it.

    :param signature: what is compared; equal when nothing of the entry changed. A change of
        content, metadata, links or attributes of anything but a directory moves its ctime. A
        directory's times move with its children, so its attributes are compared themselves.
        Inode numbers are left out: not every union filesystem keeps them.
    """

    status: os.stat_result
    signature: list[Any]
    xattrs: Mapping[bytes, bytes]

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


@dataclass(frozen=True, slots=True)
class Tree:
    """A root's visible entries by name, and the directories that also hold invisible ones.

    :param hidden: names of the invisible entries, without what is below them.
    """

    nodes: Mapping[bytes, Node]
    hiding: frozenset[bytes]
    mounts: frozenset[bytes]
    hidden: frozenset[bytes] = frozenset()


def walk(root: bytes, patterns: Sequence[str]) -> Tree:
    """Return the visible tree of *root*; no file is opened."""
    mounts = _mounts_below(root)
    excluded = _matcher(patterns)
    nodes = {b"": _node(root, os.lstat(root))}
    hiding = set()
    hidden = set()
    pending = [(root, b"")]
    while pending:
        path, name = pending.pop()
        with os.scandir(path) as found:
            for item in found:
                child = name + b"/" + item.name if name else item.name
                if child in mounts or (excluded is not None and excluded.match(child)):
                    hiding.add(name)
                    if child not in mounts:
                        hidden.add(child)
                    continue
                status = item.stat(follow_symlinks=False)
                if stat.S_ISSOCK(status.st_mode):
                    continue
                nodes[child] = _node(item.path, status)
                if stat.S_ISDIR(status.st_mode):
                    pending.append((item.path, child))
    return Tree(nodes, frozenset(hiding), mounts, frozenset(hidden))


def _node(path: bytes, status: os.stat_result) -> Node:
    owner = [status.st_mode, status.st_uid, status.st_gid]
    if not stat.S_ISDIR(status.st_mode):
        times = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_rdev]
        return Node(status, owner + times, {})
    xattrs = read_xattrs(path)
    listed = [[key.hex(), value.hex()] for key, value in sorted(xattrs.items())]
    return Node(status, [*owner, listed], xattrs)


def read_xattrs(path: bytes) -> dict[bytes, bytes]:
    """Return the extended attributes of *path* that a layer keeps; links are not followed."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    kept = [name for name in names if kept_xattr(os.fsencode(name))]
    return {os.fsencode(n): os.getxattr(path, n, follow_symlinks=False) for n in kept}


def _mounts_below(root: bytes) -> frozenset[bytes]:
    # Asked of the kernel: a mount need not have another st_dev, and a union may have several.
    base = os.path.realpath(root).rstrip(b"/") + b"/"
    mounts = set()
    with open("/proc/self/mountinfo", "rb") as lines:
        for line in lines:
            point = re.sub(rb"\\(\d{3})", lambda m: bytes([int(m[1], 8)]), line.split()[4])
            if point.startswith(base) and point != base:
                mounts.add(point[len(base) :])
    return frozenset(mounts)


def _matcher(patterns: Sequence[str]) -> re.Pattern[bytes] | None:
    if not patterns:
        return None
    forms = (fnmatch.translate(pattern.strip("/")) for pattern in patterns)
    return re.compile("|".join(forms).encode("utf-8", "surrogateescape"))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an earlier walk found: signatures by name, and the patterns it was made with.

    :param ghosts: invisible entries that were there before the first layer, so they are in what
        it is built on: nobody sees them change, but a layer says when they are gone.
    """

    signatures: Mapping[bytes, list[Any]]
    hiding: frozenset[bytes]
    patterns: tuple[str, ...]
    ghosts: frozenset[bytes] = frozenset()


def write_snapshot(
    path: bytes, tree: Tree, patterns: Sequence[str], ghosts: AbstractSet[bytes]
) -> None:
    """Write the snapshot of *tree* so that it is there whole or not at all."""
    # A change in the same tick as the last one would not move ctime: let that tick pass.
    newest = max(node.status.st_ctime_ns for node in tree.nodes.values())
    age = time.time_ns() - newest
    if 0 <= age < _TICK_NS:
        time.sleep((_TICK_NS - age) / 1e9)
    state = {
        "version": _STATE_VERSION,
        "patterns": list(patterns),
        "hiding": sorted(_text(name) for name in tree.hiding),
        "ghosts": sorted(_text(name) for name in ghosts),
        "entries": {_text(name): node.signature for name, node in tree.nodes.items()},
    }
    partial = path + b".partial"
    with open(partial, "w", encoding="ascii") as stream:
        # Not json.dump, which does without the quick encoder.
        stream.write(json.dumps(state))
    os.replace(partial, path)


def read_snapshot(path: bytes) -> Snapshot:
    """Read what write_snapshot wrote."""
    try:
        with open(path, encoding="ascii") as stream:
            state = json.load(stream)
    except FileNotFoundError as error:
        raise CaptureError(f"There is no snapshot at {shown(path)}: take one first.") from error
    except ValueError as error:
        raise CaptureError(f"The snapshot at {shown(path)} is damaged: {error}.") from error
    if state["version"] != _STATE_VERSION:
        raise CaptureError(f"The snapshot at {shown(path)} is of another version: take a new one.")
    return Snapshot(
        {_bytes(name): signature for name, signature in state["entries"].items()},
        frozenset(_bytes(name) for name in state["hiding"]),
        tuple(state["patterns"]),
        frozenset(_bytes(name) for name in state["ghosts"]),
    )


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Changes:
    """What a layer has to say.

    :param present: names to write, with the directories above them.
    :param links: hard links to write as such, and the name of the file that each is.
    :param markers: full names of the whiteout files.
    """

    present: frozenset[bytes]
    links: Mapping[bytes, bytes]
    markers: frozenset[bytes]


def compare(before: Snapshot, now: Tree) -> Changes:
    """Return what changed between *before* and *now*."""
    old, nodes = before.signatures, now.nodes
    present = {name for name, node in nodes.items() if old.get(name) != node.signature}
    links = _join_hard_links(nodes, present)

    gone: dict[bytes, list[bytes]] = {}
    for name in (old.keys() - nodes.keys() - now.mounts) | (before.ghosts - now.hidden):
        parent, _slash, last = name.rpartition(b"/")
        # What was below something that went away, or is no directory now, went with it.
        if parent in nodes and nodes[parent].is_directory:
            gone.setdefault(parent, []).append(last)
    counted = Counter(name.rpartition(b"/")[0] for name in old if name)
    markers = set()
    for parent, names in gone.items():
        start = parent + b"/" if parent else b""
        # One marker says that all went away, unless that would also hide what we do not see.
        emptied = 1 < len(names) == counted[parent]
        if emptied and parent and parent not in before.hiding | now.hiding:
            markers.add(start + OPAQUE)
        else:
            markers.update(start + WHITEOUT + last for last in names)

    for name in [*present, *markers]:
        parent = name.rpartition(b"/")[0]
        while parent and parent not in present:
            present.add(parent)
            parent = parent.rpartition(b"/")[0]
    return Changes(frozenset(present), links, frozenset(markers))


def _join_hard_links(nodes: Mapping[bytes, Node], present: set[bytes]) -> dict[bytes, bytes]:
    """Add to *present* all names of the files it holds; return those that are not the first."""
    groups: dict[tuple[int, int], list[bytes]] = {}
    for name, node in nodes.items():
        status = node.status
        if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
            groups.setdefault((status.st_dev, status.st_ino), []).append(name)
    links = {}
    for names in groups.values():
        if present.intersection(names):
            first, *others = sorted(names, key=order)
            present.update(names)
            links.update(dict.fromkeys(others, first))
    return links


def write_layer(root: bytes, tree: Tree, changes: Changes, epoch: int, out: BinaryIO) -> int:
    """Write the tar of *changes* to *out* and return its size in bytes."""
    size = 0
    keys = {name: order(name) for name in changes.present}
    # The marker of an emptied directory comes before everything else in it.
    keys.update({name: order(name.removesuffix(OPAQUE)) for name in changes.markers})
    for name in sorted(keys, key=lambda name: keys[name]):
        if name in changes.markers:
            header = whiteout(name, epoch)
            out.write(header)
            size += len(header)
            continue
        refuse_whiteout(name)
        entry = _entry(root, name, tree.nodes[name], changes.links.get(name), epoch)
        header = entry.header()
        out.write(header)
        if entry.size:
            out.writelines(_content(os.path.join(root, name), name, tree.nodes[name].status))
            out.write(padding(entry.size))
        size += len(header) + entry.size + len(padding(entry.size))
    out.write(END_OF_TAR)
    out.flush()
    return size + len(END_OF_TAR)


def _entry(root: bytes, name: bytes, node: Node, first: bytes | None, epoch: int) -> Entry:
    status = node.status
    path = os.path.join(root, name)
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    size, link, device = 0, b"", (0, 0)
    if first is not None:
        kind, link = HARD_LINK, first
    elif kind == FILE:
        size = status.st_size
    elif kind == SYMLINK:
        link = os.readlink(path)
    elif kind in (CHAR_DEVICE, BLOCK_DEVICE):
        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    return Entry(
        name,
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        clamp(status.st_mtime_ns // 1_000_000_000, epoch),
        size,
        link,
        *device,
        # On a hard link too: engines set the owner again, and that drops file capabilities.
        node.xattrs if kind == DIRECTORY else read_xattrs(path),
    )


def _content(path: bytes, name: bytes, status: os.stat_result) -> Iterator[bytes]:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _refuse_changed(fd, name, status)
        position = 0
        for start, end in _extents(fd, status):
            yield from _zeros(start - position)
            position = os.lseek(fd, start, os.SEEK_SET)
            while position < end:
                content = os.read(fd, min(READ_BYTES, end - position))
                if not content:
                    raise _changed(name)
                yield content
                position += len(content)
        yield from _zeros(status.st_size - position)
        _refuse_changed(fd, name, status)
    finally:
        os.close(fd)


def _zeros(count: int) -> Iterator[bytes]:
    for left in range(count, 0, -READ_BYTES):
        yield ZEROS[:left]


def _extents(fd: int, status: os.stat_result) -> Iterator[tuple[int, int]]:
    """Give the ranges of a file that hold data; all of it when it has no holes."""
    if status.st_blocks * 512 >= status.st_size:
        yield 0, status.st_size
        return
    end = 0
    while end < status.st_size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            if error.errno != errno.EINVAL:
                raise
            start, end = end, status.st_size
        else:
            end = min(os.lseek(fd, start, os.SEEK_HOLE), status.st_size)
        yield start, end


def _refuse_changed(fd: int, name: bytes, status: os.stat_result) -> None:
    now = os.fstat(fd)
    seen = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if (now.st_size, now.st_mtime_ns, now.st_ctime_ns) != seen:
        raise _changed(name)


def _changed(name: bytes) -> CaptureError:
    return CaptureError(
        f"{shown(name)} changed while it was captured: stop the process that writes to it."
    )


def take_snapshot(root: bytes, state: bytes, patterns: Sequence[str]) -> dict[str, object]:
    """Record the tree of *root* in *state* and return statistics."""
    start = time.monotonic()
    tree = walk(root, patterns)
    write_snapshot(state, tree, patterns, tree.hidden)
    return {"entries": len(tree.nodes), "seconds": round(time.monotonic() - start, 3)}


def capture_layer(root: bytes, state: bytes, epoch: int, out: BinaryIO) -> dict[str, object]:
    """Write what changed since the snapshot in *state* to *out*, renew it, return statistics."""
    start = time.monotonic()
    before = read_snapshot(state)
    tree = walk(root, before.patterns)
    changes = compare(before, tree)
    size = write_layer(root, tree, changes, epoch, out)
    write_snapshot(state, tree, before.patterns, before.ghosts & tree.hidden)
    return {
        "entries": len(changes.present),
        "whiteouts": len(changes.markers),
        "bytes": size,
        "seconds": round(time.monotonic() - start, 3),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program: statistics as the last line on standard error, or why it failed."""
    parser = argparse.ArgumentParser(prog="capture")
    commands = parser.add_subparsers(dest="command", required=True)
    snapshot, capture = commands.add_parser("snapshot"), commands.add_parser("capture")
    for options in (snapshot, capture):
        options.add_argument("--root", default="/", type=os.fsencode)
        options.add_argument("--state", required=True, type=os.fsencode)
    snapshot.add_argument("--exclude", action="append", default=[], metavar="PATTERN")
    snapshot.add_argument("--exclude-file", metavar="JSON")
    capture.add_argument("--epoch", required=True, type=int)
    chosen = parser.parse_args(arguments)
    gc.disable()  # what is made lives to the end, which is near
    try:
        if chosen.command == "capture":
            with open(1, "wb", buffering=READ_BYTES, closefd=False) as out:
                told = capture_layer(chosen.root, chosen.state, chosen.epoch, out)
        else:
            patterns = list(chosen.exclude)
            if chosen.exclude_file is not None:
                with open(chosen.exclude_file, encoding="utf-8") as stream:
                    patterns += json.load(stream)
            told = take_snapshot(chosen.root, chosen.state, patterns)
    except FileNotFoundError as error:
        name = os.fsencode(error.filename or b"A file")
        sys.stderr.write(f"{shown(name)} went away while the root was read.\n")
        return 1
    except OSError as error:
        name = os.fsencode(error.filename or b"standard output")
        sys.stderr.write(f"Cannot capture: {shown(name)}: {error.strerror}.\n")
        return 1
    except CaptureError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write(json.dumps(told, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
