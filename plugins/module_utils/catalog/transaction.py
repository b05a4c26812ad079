# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changing the catalog: pull, plan, commit, push, and only then the working tree.

A commit is made of objects alone and offered to the remote before anything here changes. So a
refused push leaves nothing to undo, and a process that is killed leaves either nothing, or a note
of the commit that the next one brings to its end.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import DriverError
from ..core.files import locked, write_whole
from ..core.waiting import Clock, wait_for
from .git import Git

PATIENCE = 120.0
"""Seconds for which a change that others keep overtaking is tried again."""

_DYING, _WORKING = 1.0, 10.0
"""Seconds to wait for Git's own lock: of a program without its parent, and of a user's."""

_MARGIN = 3600.0
"""Seconds by which a lock must be older than the machine's start; clocks are set at that time."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit does.

    :param files: content by path below the catalog's root; None takes a file away.
    :param message: who and when are Git's to tell; this says what, and below it why.
    """

    files: Mapping[str, bytes | None]
    message: str


@dataclass(frozen=True, slots=True)
class Transactions:
    """The one writer of a catalog.

    :param remote: address that origin is to have; empty leaves it as it is.
    """

    git: Git
    remote: str = ""
    clock: Clock = time
    jitter: Callable[[], float] = field(default=random.random)

    def ensure(self) -> None:
        """Make the repository on first use, and let its remote be the one that is asked for."""
        root = self.git.root
        if not self._ready.exists():
            try:
                root.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DriverError(
                    f"The catalog {root} cannot be made: {error.strerror}.",
                    hint="Name another folder with kiln_home or KILN_HOME.",
                ) from error
            with locked(root.with_name(f".{root.name}.lock")):
                self.git.init()
                if self.remote:
                    self.git.set_remote(self.remote)
                    branch = self.git.remote_branch()
                    if branch is not None and self.git.commit_of("HEAD") is None:
                        self.git.run("symbolic-ref", "HEAD", f"refs/heads/{branch}")
                write_whole(self._ready, b"")
        elif self.remote:
            self.git.set_remote(self.remote)

    def pull(self) -> None:
        """Take over what the remote has; DriverError when it cannot be reached."""
        self.ensure()
        if self.git.has_remote():
            with self._alone():
                self._settle()
                self._pull(self.git.branch())

    def change(self, plan: Callable[[], Change | None]) -> bool:
        """Commit what *plan* wants, and push it where there is a remote; tell if there was any.

        :param plan: reads the catalog and decides. It is asked again whenever somebody else was
            quicker; what it raises ends the change.
        """
        self.ensure()
        with self._alone():
            deadline = self.clock.monotonic() + PATIENCE
            attempt = 0
            while True:
                self._settle()
                branch = self.git.branch()
                seen = self._pull(branch) if self.git.has_remote() else None
                head = self.git.commit_of("HEAD")
                change = self._planned(plan, attempt)
                made = self._commit(change, head) if change is not None else None
                offered = made or head
                if offered is None:
                    return False
                refused = ""
                if self.git.has_remote() and offered != seen:
                    refused = self.git.push(offered, branch)
                if not refused:
                    if made is not None:
                        self._adopt(branch, head, made)
                    return made is not None
                self._judge(refused, branch, seen, deadline)
                attempt += 1
                self.clock.sleep(min(2.0, 0.05 * 2**attempt) * self.jitter())

    def _planned(self, plan: Callable[[], Change | None], attempt: int) -> Change | None:
        try:
            return plan()
        except DriverError as error:
            if attempt == 0:
                raise
            last = self.git.text("log", "-1", "--format=%an: %s")
            raise DriverError(
                f"The catalog was changed meanwhile ({last}), and now: {error.message}",
                hint=error.hint,
                details=error.details,
            ) from error

    def _commit(self, change: Change, head: str | None) -> str | None:
        known = {} if head is None else self._known(change.files, head)
        files = {path: new for path, new in change.files.items() if known.get(path) != new}
        if not files:
            return None
        changed = self.git.uncommitted(list(files)) if head is not None else []
        # A file that was removed by hand is as good as one that a commit removes.
        changed = [path for path in changed if (self.git.root / path).exists()]
        if changed:
            raise DriverError(
                f"{', '.join(changed)} in {self.git.root} has changes that are not committed.",
                hint="Commit them, or take them back with git checkout.",
            )
        return self.git.commit(files, head, change.message, self.git.folder / "kiln.index")

    def _known(self, files: Mapping[str, bytes | None], head: str) -> dict[str, bytes]:
        listing = self.git.run("ls-tree", "-r", "-z", "--name-only", head, "--", *files).stdout
        there = [path for path in listing.decode().split("\0") if path]
        return self.git.contents(head, there) if there else {}

    def _pull(self, branch: str) -> str | None:
        """Join what the remote has with what is here; return the remote's commit."""
        theirs = self.git.fetch(branch)
        ours = self.git.commit_of("HEAD")
        if theirs is None or theirs == ours or (ours and self.git.is_ancestor(theirs, ours)):
            return theirs
        if ours is None or self.git.is_ancestor(ours, theirs):
            self._adopt(branch, ours, theirs)
            return theirs
        merged = self.git.merge(ours, theirs)
        if merged.conflicts:
            raise DriverError(
                f"The catalog in {self.git.root} and its remote were both changed, and differ in"
                f" {', '.join(merged.conflicts)}.",
                hint=f"Decide by hand: git -C {self.git.root} pull --no-rebase, edit, commit; or"
                " move the folder away to start from the remote's.",
                details={"conflicts": list(merged.conflicts)},
            )
        message = "Join what was recorded here with what the remote has\n"
        self._adopt(branch, ours, self.git.commit_tree(merged.tree, [ours, theirs], message))
        return theirs

    def _judge(self, refused: str, branch: str, seen: str | None, deadline: float) -> None:
        """Return when a refused push may pass if it is planned anew; DriverError otherwise."""
        moved = self.git.fetch(branch) != seen
        racing = any(word in refused for word in ("lock", "failed to update", "incorrect old"))
        if not moved and not racing:
            raise DriverError(
                f"The catalog's remote refused the change: {refused}",
                hint="See who may push to it; a branch that wants reviews takes none from here.",
            )
        if self.clock.monotonic() >= deadline:
            raise DriverError(
                f"Others changed the catalog's remote again and again for {PATIENCE:g} s.",
                hint="Run it again.",
            )

    # The working tree.

    def _adopt(self, branch: str, old: str | None, new: str) -> None:
        """Move the branch, the working tree and the index to *new*; a kill does no harm."""
        paths = self.git.differing(old, new)
        changed = [path for path in self.git.uncommitted(list(paths)) if old is not None]
        changed = [path for path in changed if (self.git.root / path).exists()]
        if changed:
            raise DriverError(
                f"{', '.join(sorted(changed))} in {self.git.root} has changes that are not"
                " committed, and the catalog has newer ones.",
                hint="Take them back with git checkout, or commit them.",
            )
        write_whole(self._note, json.dumps({"branch": branch, "old": old, "new": new}).encode())
        self._finish(branch, new, paths)

    def _finish(self, branch: str, new: str, paths: Mapping[str, bool]) -> None:
        self.git.run("update-ref", f"refs/heads/{branch}", new)
        kept = [path for path, there in paths.items() if there]
        for path, content in (self.git.contents(new, kept) if kept else {}).items():
            self._place(self.git.root / path, content)
        for path in paths.keys() - set(kept):
            (self.git.root / path).unlink(missing_ok=True)
        listing = "".join(f"{path}\0" for path in paths).encode()
        self.git.run("update-index", "--add", "--remove", "-z", "--stdin", stdin=listing)
        self._note.unlink()

    def _place(self, path: Path, content: bytes) -> None:
        """Let readers see the old content or the new. Git has it durably, so no fsync here."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(content)
        os.replace(partial, path)

    def _settle(self) -> None:
        """Bring a change to its end whose process was killed."""
        lock = self.git.folder / "index.lock"
        if self._note.exists():
            note = json.loads(self._note.read_bytes())
            # Whoever wrote the note is dead; a program that it started may need a moment more.
            self._unlocked(lock, _DYING)
            for path in (lock, self.git.folder / "refs" / "heads" / f"{note['branch']}.lock"):
                path.unlink(missing_ok=True)
            paths = self.git.differing(note["old"], note["new"])
            for name in paths:
                place = self.git.root / name
                place.with_name(f".{place.name}.partial").unlink(missing_ok=True)
            self._finish(note["branch"], note["new"], paths)
        elif _older_than_machine(lock):
            # Of a Git that a loss of power ended: none that runs can have made it.
            lock.unlink(missing_ok=True)
        elif not self._unlocked(lock, _WORKING):
            raise DriverError(
                f"Somebody works on the catalog with Git: {lock} is there.",
                hint="Wait for that, or remove the file when no Git is running.",
            )

    def _unlocked(self, lock: Path, patience: float) -> bool:
        """Wait for Git's *lock* to go; tell whether it went."""

        def gone() -> bool | None:
            return None if lock.exists() else True

        with contextlib.suppress(DriverError):
            return wait_for("Git", gone, timeout=patience, clock=self.clock)
        return False

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return locked(self.git.folder / "kiln.lock")

    @property
    def _ready(self) -> Path:
        return self.git.folder / "kiln.ready"

    @property
    def _note(self) -> Path:
        return self.git.folder / "kiln.pending"


def _older_than_machine(lock: Path) -> bool:
    """Whether *lock* was made before this machine was started, with a margin for its clock."""
    try:
        made = lock.stat().st_mtime
        status = Path("/proc/stat").read_text("ascii")
    except OSError:
        return False
    started = next((line for line in status.splitlines() if line.startswith("btime ")), "btime 0")
    return made + _MARGIN < int(started.split()[1])
