# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what an instance is made of, from outside: files, mounts, packages and processes.

The whole program is this file and the standard library (Python 3.11 or newer): its text is sent
to a container of its own that sees the engine's processes, and is run there as
``python3 -I - JSON``. Every file is read through the kernel (``/proc/PID/root``), as the instance
itself sees it, and by programs and libraries that are not the instance's.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

FORM = 1
"""Of what the program writes."""

STATUS = "var/lib/dpkg/status"
READ_BYTES = 1 << 20
PASSING_SECONDS = 0.5
"""How long what came in through the engine is left to itself before it is looked at."""
KERNEL_FILE_SYSTEMS = frozenset(
    (
        *("proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "securityfs", "debugfs"),
        *("tracefs", "bpf", "pstore", "configfs", "fusectl", "hugetlbfs", "binfmt_misc"),
    )
)
_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
_BATCH = 64
_DELETED = " (deleted)"
_ESCAPE = re.compile(r"\\(\d{3})")


class ReadingError(Exception):
    """Why an instance cannot be read, as one sentence."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of the instance; ``path`` is relative to its root, empty for the root."""

    path: str
    type: str
    options: tuple[str, ...]


@dataclass(slots=True)
class Found:
    """What a walk found: rows as they are written, and what could not be read."""

    rows: list[list[Any]] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def read_mounts(text: str) -> list[Mount]:
    """Read ``/proc/PID/mountinfo`` (proc_pid_mountinfo(5)); of what is over each other the last."""
    found = {}
    for line in text.splitlines():
        before, _dash, after = line.partition(" - ")
        words = before.split(" ")
        path = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), words[4]).strip("/")
        found[path] = Mount(path, after.split(" ")[0], tuple(words[5].split(",")))
    return list(found.values())


def packages_of(status: str) -> dict[str, str]:
    """Return the versions of the packages that dpkg's *status* has as installed, by NAME:ARCH."""
    found = {}
    for block in status.split("\n\n"):
        fields = dict(re.findall(r"(?m)^(Package|Status|Version|Architecture): *(.*)$", block))
        if fields.get("Status", "").split()[-1:] == ["installed"]:
            name = f"{fields.get('Package', '')}:{fields.get('Architecture', '')}"
            found[name] = fields.get("Version", "")
    return found


def walk(root: str, left_out: frozenset[str]) -> Found:
    """Read every name below *root* but those in *left_out* and what is below them."""
    found = Found()
    files: list[tuple[list[Any], str]] = []
    _add(found, files, "", root, os.lstat(root))
    pending = [(root, "")]
    while pending:
        folder, name = pending.pop()
        try:
            with os.scandir(folder) as items:
                listed = list(items)
        except FileNotFoundError:
            continue
        except OSError as error:
            found.unreadable.append((name, error.strerror or str(error)))
            continue
        for item in listed:
            child = f"{name}/{item.name}" if name else item.name
            if child in left_out:
                continue
            try:
                status = item.stat(follow_symlinks=False)
                _add(found, files, child, item.path, status)
            except FileNotFoundError:
                continue
            except OSError as error:
                found.unreadable.append((child, error.strerror or str(error)))
                continue
            if stat.S_ISDIR(status.st_mode):
                pending.append((item.path, child))
    _hash_all(files, found)
    return found


def _add(
    found: Found,
    files: list[tuple[list[Any], str]],
    name: str,
    path: str,
    status: os.stat_result,
) -> None:
    kind = _TYPES[stat.S_IFMT(status.st_mode)]
    device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    row = [
        name,
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_size if kind == "file" else 0,
        None,
        os.readlink(path) if kind == "symlink" else "",
        device if kind in ("char", "block") else (0, 0),
        [] if kind == "symlink" else read_xattrs(path),
    ]
    found.rows.append(row)
    if kind == "file":
        files.append((row, path))


def read_xattrs(path: str) -> list[tuple[str, str]]:
    """Return the extended attributes of *path* that are content rather than its host's."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EACCES, errno.EPERM):
            return []
        raise
    kept = [
        name
        for name in names
        if name == "security.capability"
        or name.startswith("system.posix_acl_")
        or (name.startswith("user.") and not name.startswith("user.overlay."))
    ]
    return [
        (name, os.getxattr(path, name, follow_symlinks=False).decode("latin-1"))
        for name in sorted(kept)
    ]


def _hash_all(files: list[tuple[list[Any], str]], found: Found) -> None:
    """Put the digests of *files* into their rows, on every processor."""

    def hash_batch(batch: list[tuple[list[Any], str]]) -> list[tuple[str, str]]:
        failed = []
        for row, path in batch:
            try:
                row[6] = file_digest(path)
            except OSError as error:
                failed.append((row[0], error.strerror or str(error)))
        return failed

    batches = [files[start : start + _BATCH] for start in range(0, len(files), _BATCH)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for failed in pool.map(hash_batch, batches):
            found.unreadable.extend(failed)


def file_digest(path: str, *, follow: bool = False) -> str:
    """Return the digest of a regular file's content; one that went away has that of nothing.

    :param follow: the path is a link of ``/proc`` to the file.
    """
    # Not to be held up by a pipe that took the file's place just now.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        digest = hashlib.sha256()
        while content := os.read(descriptor, READ_BYTES):
            digest.update(content)
        return "sha256:" + digest.hexdigest()
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Target:
    """The instance: its engine's ID and its first process, and where ``/proc`` is."""

    id: str
    pid: int
    proc: str = "/proc"

    def text(self, pid: int, name: str) -> str:
        """Return what ``/proc/PID/NAME`` holds."""
        with open(f"{self.proc}/{pid}/{name}", "rb") as stream:
            return stream.read().decode("utf-8", "surrogateescape")


def read_processes(target: Target) -> Iterator[dict[str, Any]]:
    """Yield the processes of the instance: those in its control group or its process namespace."""
    space = os.readlink(f"{target.proc}/{target.pid}/ns/pid")
    members: dict[int, bool] = {}
    for name in os.listdir(target.proc):
        if not name.isdecimal():
            continue
        try:
            inside = target.id in target.text(int(name), "cgroup")
            if inside or os.readlink(f"{target.proc}/{name}/ns/pid") == space:
                members[int(name)] = inside
        except OSError:
            # It ended, or is a thread of the kernel.
            continue
    digests: dict[tuple[int, int], str] = {}
    entered = []
    for pid in sorted(members):
        found = _process_if_there(target, pid, digests)
        if found is None:
            continue
        parent = found.pop("parent")
        if pid != target.pid and (not members[pid] or parent not in members):
            entered.append(pid)
        else:
            yield {**found, "entered": False}
    if entered:
        # The engine's own way in, on which programs of its own are seen for a moment.
        time.sleep(PASSING_SECONDS)
    for pid in entered:
        found = _process_if_there(target, pid, digests)
        if found is not None:
            found.pop("parent")
            yield {**found, "entered": True}


def _process_if_there(
    target: Target, pid: int, digests: dict[tuple[int, int], str]
) -> dict[str, Any] | None:
    try:
        return _process(target, pid, digests)
    except (FileNotFoundError, ProcessLookupError):
        return None


def _process(
    target: Target, pid: int, digests: dict[tuple[int, int], str]
) -> dict[str, Any] | None:
    status = dict(re.findall(r"(?m)^(\w+):\s*(.*)$", target.text(pid, "status")))
    if status["State"].startswith(("Z", "X")):
        return None
    link = f"{target.proc}/{pid}/exe"
    exe = os.readlink(link)
    about = os.stat(link)
    key = (about.st_dev, about.st_ino)
    if key not in digests:
        digests[key] = file_digest(link, follow=True)
    mapped = set()
    for line in target.text(pid, "maps").splitlines():
        words = line.split(maxsplit=5)
        if "x" in words[1] and words[4] != "0" and len(words) == 6:
            mapped.add(_ESCAPE.sub(lambda match: chr(int(match[1], 8)), words[5]))
    return {
        # As the instance itself numbers it.
        "pid": int(status.get("NSpid", str(pid)).split()[-1]),
        "parent": int(status["PPid"]),
        "uid": int(status["Uid"].split()[0]),
        "exe": exe.removesuffix(_DELETED),
        "deleted": exe.endswith(_DELETED),
        "digest": digests[key],
        "argv": target.text(pid, "cmdline").rstrip("\0").split("\0"),
        "mapped": sorted(mapped - {exe}),
    }


def read_instance(target: Target, left_out: list[str]) -> dict[str, Any]:
    """Read the instance, without what is at the paths *left_out* (relative to its root).

    Raises ReadingError when the process is not the instance's any more.
    """
    try:
        if target.id not in target.text(target.pid, "cgroup"):
            raise ReadingError("It was restarted just now.")
        mounts = read_mounts(target.text(target.pid, "mountinfo"))
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ReadingError("It stopped just now.") from error
    hidden = {one.path for one in mounts if one.path and not _is_read(one)}
    # With a slash: it is a link, and the root itself is looked at too.
    root = f"{target.proc}/{target.pid}/root/"
    found = walk(root, frozenset((*hidden, *left_out)))
    processes = list(read_processes(target))
    if not os.path.exists(f"{target.proc}/{target.pid}"):
        raise ReadingError("It stopped while it was read.")
    return {
        "form": FORM,
        "entries": found.rows,
        "unreadable": found.unreadable,
        "mounts": [[one.path, one.type, list(one.options)] for one in mounts],
        "packages": packages_of(_status(root, found)),
        "processes": processes,
    }


def _is_read(mount: Mount) -> bool:
    """Whether files of a mount are looked at: those that every container has in memory."""
    return mount.path in ("dev", "dev/shm") and mount.type not in KERNEL_FILE_SYSTEMS


def _status(root: str, found: Found) -> str:
    # Only where the walk found it: a link on the way there could lead to files of our own.
    if not any(row[0] == STATUS and row[1] == "file" for row in found.rows):
        return ""
    with open(f"{root}{STATUS}", encoding="utf-8", errors="replace") as stream:
        return stream.read()


def main(arguments: Mapping[str, Any]) -> int:
    """Read the instance that *arguments* name and write what it is as JSON."""
    target = Target(str(arguments["id"]), int(arguments["pid"]))
    try:
        answer = read_instance(target, list(arguments["left_out"]))
    except ReadingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{error.filename or 'A file'}: {error.strerror}.\n")
        return 1
    json.dump(answer, sys.stdout, separators=(",", ":"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(json.loads(sys.argv[1])))
