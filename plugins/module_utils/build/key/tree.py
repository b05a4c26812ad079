# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a directory holds, told so that equal trees give equal words on every machine."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import DriverError

#: Paths in a role that no role run reads, unless a task names them (such a path is then digested
#: on its own).
EXCLUDED = {
    "README.md": "prose for people",
    "README.rst": "prose for people",
    "CHANGELOG.md": "prose for people",
    "LICENSE": "prose for people",
    "COPYING": "prose for people",
    "meta/controls.yml": "what the role sees to, for documents and tests",
    "molecule": "scenarios that test the role, never part of its run",
    "tests": "tests of the role, never part of its run",
    ".git": "history; a submodule's .git file also names the checkout",
    ".github": "continuous integration",
    ".gitlab-ci.yml": "continuous integration",
    ".gitignore": "read by Git alone",
    ".gitattributes": "read by Git alone",
    ".yamllint": "read by the linter alone",
    ".ansible-lint": "read by the linter alone",
    ".ansible": "the linter's copy of dependencies",
    ".cache": "left by tools",
    ".DS_Store": "left by file browsers",
}

#: What tools leave beside sources. Below files/ and templates/ it counts all the same, because
#: a task that copies a directory takes everything in it.
LEFTOVER = re.compile(
    r"^(?:__pycache__|.*\.py[co]|.*~|\.[^/]*\.sw[a-p]|\.#.*|#.*#|\.DS_Store|\.mypy_cache)$"
)
SHIPPED = ("files", "templates")

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a tree.

    :param path: relative to the tree's root, with ``/``.
    :param location: where it is on this machine.
    :param kind: ``file``, ``directory`` (noted when empty or when modes count) or ``special``.
    :param link: the text of the symbolic link when the name is one; None otherwise.
    :param content: the bytes, when the caller asked to keep them.
    """

    path: str
    location: str
    kind: str
    mode: int = 0
    digest: str = ""
    link: str | None = None
    content: bytes | None = None

    def describe(self, *, exact_modes: bool) -> str:
        """Return the entry as the manifest tells it, such as ``sha256:... 0644``.

        Without *exact_modes* the mode is 0755 or 0644 after the owner's executable bit, as Git
        keeps it: the other bits come from the umask of whoever checked the tree out, and reach
        an image only through ``mode: preserve`` and its like.
        """
        words = [f"link -> {self.link}"] if self.link is not None else []
        words.append(self.digest or self.kind)
        if self.kind == "file" or (self.kind == "directory" and exact_modes):
            executable = self.kind == "directory" or self.mode & stat.S_IXUSR
            mode = self.mode if exact_modes else 0o755 if executable else 0o644
            words.append(f"{mode:04o}")
        return " ".join(words)


def role_excludes(path: str) -> bool:
    """Whether the role-relative *path* is left out of a role's tree."""
    if path in EXCLUDED:
        return True
    top, _slash, rest = path.partition("/")
    if rest and top in SHIPPED:
        return False
    return LEFTOVER.match(path.rpartition("/")[2]) is not None


def walk(
    root: Path,
    *,
    excludes: Callable[[str], bool] = lambda path: False,
    keeps: Callable[[str], bool] = lambda path: False,
) -> tuple[Entry, ...]:
    """Return the entries of *root*, a directory or a file, sorted by path.

    Symbolic links are noted by their text and followed, since Ansible follows them too.

    :param excludes: relative paths to leave out, with everything below.
    :param keeps: relative paths whose content is wanted.
    :raises DriverError: something in it cannot be read.
    """
    try:
        if not root.is_dir():
            return (_entry("", str(root), keeps),)
        entries = list(_walk(str(root), "", (), excludes, keeps))
    except OSError as error:
        raise DriverError(
            f"{error.filename or root} cannot be read: {error.strerror}.",
            hint="Every file that a layer depends on is read to compute its key.",
        ) from error
    entries.sort(key=lambda entry: entry.path)
    return tuple(entries)


def _walk(
    directory: str,
    prefix: str,
    above: tuple[tuple[int, int], ...],
    excludes: Callable[[str], bool],
    keeps: Callable[[str], bool],
) -> Iterator[Entry]:
    state = os.stat(directory)
    here = (state.st_dev, state.st_ino)
    if here in above:
        yield Entry(prefix.rstrip("/"), directory, "loop")
        return
    empty = True
    with os.scandir(directory) as names:
        for name in names:
            empty = False
            path = prefix + name.name
            if excludes(path):
                continue
            try:
                is_directory = name.is_dir()
            except OSError:
                is_directory = False
            if not is_directory:
                yield _entry(path, name.path, keeps)
                continue
            if name.is_symlink():
                yield Entry(path, name.path, "directory", link=os.readlink(name.path), mode=0o755)
            yield from _walk(name.path, path + "/", (*above, here), excludes, keeps)
    kind = "empty directory" if empty else "directory"
    yield Entry(prefix.rstrip("/") or ".", directory, kind, mode=stat.S_IMODE(state.st_mode))


def _entry(path: str, location: str, keeps: Callable[[str], bool]) -> Entry:
    link = os.readlink(location) if os.path.islink(location) else None
    try:
        state = os.stat(location)
    except (FileNotFoundError, NotADirectoryError):
        if link is None:
            raise
        return Entry(path, location, "broken", link=link)
    except OSError:
        if link is None:
            raise
        return Entry(path, location, "loop", link=link)
    if not stat.S_ISREG(state.st_mode):
        return Entry(path, location, "special", link=link)
    content: bytes | None = None
    with open(location, "rb") as stream:
        if keeps(path) or state.st_size <= _CHUNK:
            content = stream.read()
            digest = hashlib.sha256(content).hexdigest()
        else:
            whole = hashlib.sha256()
            while chunk := stream.read(_CHUNK):
                whole.update(chunk)
            digest = whole.hexdigest()
    if not keeps(path):
        content = None
    mode = stat.S_IMODE(state.st_mode)
    return Entry(path, location, "file", mode, f"sha256:{digest}", link, content)


def describe(entries: tuple[Entry, ...], *, exact_modes: bool) -> dict[str, str]:
    """Return path -> description of *entries*, without directories that say nothing."""
    return {
        entry.path: entry.describe(exact_modes=exact_modes)
        for entry in entries
        if exact_modes or entry.kind != "directory" or entry.link is not None
    }
