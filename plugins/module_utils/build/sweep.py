# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding residue in a root file system in one walk, and taking it away."""

from __future__ import annotations

import fnmatch
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .residue import Matcher, Treatment

_ORPHAN = "compiled Python whose source is gone"


@dataclass(frozen=True, slots=True)
class Finding:
    """A path (relative to the root) that is to go, or to be emptied, and why."""

    path: str
    reason: str
    emptied: bool = False


def running_paths(*names: str) -> tuple[str, ...]:
    """Return the directories that hold the running module's files *names*, relative to the root.

    They are removed by Ansible itself. What is not an absolute path is no file: a module may come
    through standard input or live in memory.
    """
    spared = set()
    for name in names:
        place = PurePosixPath(name)
        if place.is_absolute() and len(place.parts) > 2:
            # AnsiballZ: the module's __file__ continues inside of a zip file.
            below_tmp = place.parts[1] == "tmp"
            directory = PurePosixPath(*place.parts[:3]) if below_tmp else place.parent
            spared.add(str(directory).lstrip("/"))
    return tuple(sorted(spared))


def find_residue(
    root: Path, matcher: Matcher, *, keep: Iterable[str] = (), spare: Iterable[str] = ()
) -> list[Finding]:
    """Return what *matcher* finds below *root*, without crossing into other mounts.

    :param keep: fnmatch patterns of paths that stay.
    :param spare: paths that stay with all that is below and above them, for they are in use.
    """
    search = _Search(root, matcher, tuple(keep), frozenset(path.rstrip("/") for path in spare))
    return sorted(search.below(""), key=lambda finding: finding.path)


def apply_finding(root: Path, finding: Finding) -> None:
    """Remove or empty one path; what has gone meanwhile is no error."""
    path = root / finding.path
    try:
        if finding.emptied:
            os.truncate(path, 0)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return


class _Search:
    """One walk; a subtree that goes whole is reported as one path."""

    def __init__(
        self, root: Path, matcher: Matcher, keep: tuple[str, ...], spare: frozenset[str]
    ) -> None:
        self._root = root
        self._match = matcher
        self._keep = keep
        self._spare = spare
        self._on_the_way = {
            str(parent) for path in spare for parent in PurePosixPath(path).parents
        } - {"."}
        self._device = os.lstat(root).st_dev

    def below(self, directory: str, *, doomed: str = "") -> Iterator[Finding]:
        """Give the findings below *directory*; all of them when it is *doomed* (the reason)."""
        with os.scandir(self._root / directory) as scan:
            entries = list(scan)
        names = {entry.name for entry in entries}
        for entry in entries:
            path = f"{directory}/{entry.name}" if directory else entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if status.st_dev != self._device or path in self._spare or self._kept(path):
                continue
            yield from self._entry(path, status, names, doomed)

    def _entry(
        self, path: str, status: os.stat_result, siblings: set[str], doomed: str
    ) -> Iterator[Finding]:
        residue = self._match(path)
        reason = doomed
        if residue is not None and residue.treatment is Treatment.TREE:
            reason = residue.reason
        if stat.S_ISDIR(status.st_mode):
            if reason and not self._holds_what_stays(path):
                yield Finding(path, reason)
            else:
                yield from self.below(path, doomed=reason)
        elif reason:
            yield Finding(path, reason)
        elif path.endswith(".pyc"):
            if self._orphaned(path, siblings):
                yield Finding(path, _ORPHAN)
        elif residue is not None and stat.S_ISREG(status.st_mode):
            if residue.treatment is Treatment.REMOVE:
                yield Finding(path, residue.reason)
            elif residue.treatment is Treatment.EMPTY and status.st_size:
                yield Finding(path, residue.reason, emptied=True)

    def _kept(self, path: str) -> bool:
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self._keep)

    def _holds_what_stays(self, path: str) -> bool:
        """Return whether the directory *path* holds a spared path, a kept one or a mount."""
        if path in self._on_the_way:
            return True
        for directory, names, files in os.walk(self._root / path):
            if os.lstat(directory).st_dev != self._device:
                return True
            if self._keep:
                for name in (*names, *files):
                    relative = os.path.relpath(os.path.join(directory, name), self._root)
                    if self._kept(relative):
                        return True
            if any(_is_mount(os.path.join(directory, name), self._device) for name in files):
                return True
        return False

    def _orphaned(self, path: str, siblings: set[str]) -> bool:
        """Return whether the compiled file *path* has no source; PEP 3147 names the place."""
        place = PurePosixPath(path)
        if place.parent.name != "__pycache__":
            return f"{place.stem}.py" not in siblings
        source = place.parent.parent / f"{place.name.partition('.')[0]}.py"
        return not (self._root / source).exists()


def _is_mount(path: str, device: int) -> bool:
    try:
        return os.lstat(path).st_dev != device
    except FileNotFoundError:
        return False
