# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bake's folder while it goes on: who it is, what it holds, and tidying up after dead ones.

``sessions/ID/`` holds ``lock`` (held by the keeper for as long as the bake lives), ``open`` (taken
away by the keeper before it tidies up), ``NAME.json`` (how far each image is), the generated tasks,
and ``kept`` (IDs of containers kept on purpose).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..core.canonical import encode
from ..core.errors import DriverError
from ..core.files import LockBusy, locked, write_whole
from . import keeper
from .engine import CHAIN_REPOSITORY, SESSION_LABEL, Engine
from .home import Home
from .store_lock import store_lock


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the bake playbook."""

    id: str
    folder: Path

    @property
    def label(self) -> str:
        """The label of every container of this session."""
        return f"{SESSION_LABEL}={self.id}"

    def container_name(self, image: str) -> str:
        """The name of the build container of *image*."""
        return f"kiln-build-{image}-{self.id}"

    def read(self, image: str) -> dict[str, Any]:
        """Return what write() kept for *image*, an empty mapping when there is nothing."""
        try:
            value = json.loads((self.folder / f"{image}.json").read_bytes())
        except FileNotFoundError:
            return {}
        return dict(value)

    @property
    def is_open(self) -> bool:
        """Whether the main process lives. A task may outlive it for a while, but must not act."""
        return (self.folder / "open").exists()

    def check_open(self) -> None:
        """Raise DriverError when the bake has ended."""
        if not self.is_open:
            raise DriverError(f"The bake {self.id} has ended.", hint="Run it again.")

    def write(self, image: str, values: Mapping[str, Any]) -> None:
        """Keep *values* for *image*, on top of what is kept already.

        Raises DriverError when the bake has ended: its folder must not come back.
        """
        self.check_open()
        write_whole(self.folder / f"{image}.json", encode({**self.read(image), **values}))

    def forget(self, image: str) -> None:
        """Drop what is kept for *image*; it works on a full disk too."""
        (self.folder / f"{image}.json").unlink(missing_ok=True)

    def keep(self, container_id: str) -> None:
        """Except a container from the tidying up at the end."""
        with (self.folder / "kept").open("a", encoding="ascii") as stream:
            stream.write(container_id + "\n")


def find_session(home: Home, session_id: str) -> Session:
    """Return the session that an earlier task of the same run opened."""
    folder = home.sessions / session_id
    if not folder.is_dir():
        raise DriverError(
            f"The bake {session_id} is not going on any more in {home.sessions}.",
            hint="Run the bake playbook from its beginning.",
        )
    return Session(session_id, folder)


def open_session(
    home: Home,
    *,
    main_pid: int,
    images: Sequence[str] = (),
    waiting: Callable[[], None] = lambda: None,
) -> Session:
    """Open a session and start its keeper, which ends with process *main_pid*.

    :param images: names of the images to bake; while another session has one of them, this waits.
    :param waiting: called once if it must wait: what was decided before is then old.
    """
    session_id = secrets.token_hex(8)
    folder = home.sessions / session_id
    folder.mkdir(parents=True, mode=0o700)
    (folder / "open").touch()
    session = Session(session_id, folder)
    program = Path(keeper.__file__)
    home.locks.mkdir(exist_ok=True)
    locks = [str(store_lock(home)), *(str(home.locks / f"image-{image}") for image in images)]
    guard = subprocess.Popen(
        [sys.executable, "-I", str(program), str(main_pid), str(folder), session.label, *locks],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    stdout: IO[bytes] = guard.stdout  # type: ignore[assignment]  # PIPE was asked for
    with stdout:
        ready = stdout.read(1)
        if ready == b"w":
            waiting()
        while ready == b"w":
            ready = stdout.read(1)
    if ready != b".":
        guard.wait()
        shutil.rmtree(folder, ignore_errors=True)
        raise DriverError("The keeper of the bake did not start.", hint=f"Try: {program}")
    # It outlives this process on purpose; without this, Python would warn of it at exit.
    guard.returncode = 0
    return session


def reap_sessions(home: Home, engine: Engine) -> list[str]:
    """Remove what dead sessions left: their containers and folders; return their IDs.

    A session is dead when nobody holds its lock. Its kept containers stay until the next bake of
    the same image keeps one, or somebody removes them.
    """
    reaped = []
    for folder in sorted(home.sessions.glob("*")) if home.sessions.is_dir() else []:
        if _is_young(folder):
            continue
        try:
            with locked(folder / "lock", wait=False):
                left = engine.containers(f"{SESSION_LABEL}={folder.name}")
                if not _kept(folder).isdisjoint(left):
                    continue
                engine.remove_containers(left)
                for reference in engine.references(f"{CHAIN_REPOSITORY}:*-{folder.name}"):
                    engine.remove_image(reference)
                shutil.rmtree(folder, ignore_errors=True)
                reaped.append(folder.name)
        except (LockBusy, FileNotFoundError):
            continue
    return reaped


def _kept(folder: Path) -> set[str]:
    try:
        return set((folder / "kept").read_text("ascii").split())
    except FileNotFoundError:
        return set()


def _is_young(folder: Path) -> bool:
    """A session whose keeper may not have taken the lock yet."""
    with contextlib.suppress(FileNotFoundError):
        return not (folder / "lock").exists() and time.time() - folder.stat().st_mtime < 60
    return True


def keep_failed(session: Session, engine: Engine, home: Home, image: str, container: str) -> str:
    """Keep the build container of a failed bake under a name that is easy to type; return it.

    An older one of the same image goes: there is never more than one per image.
    """
    name = f"kiln-failed-{image}"
    engine.remove_containers([name])
    engine.rename(container, name)
    session.keep(container)
    for folder in home.sessions.glob("*"):
        if folder == session.folder or not (folder / "kept").exists():
            continue
        if (folder / f"{image}.json").exists():
            with contextlib.suppress(LockBusy), locked(folder / "lock", wait=False):
                shutil.rmtree(folder, ignore_errors=True)
    return name


def main_process() -> int:
    """The process ID of ansible-playbook, whose tasks run in children of it."""
    return os.getppid()
