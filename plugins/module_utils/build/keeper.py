# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outlives a bake that dies: removes its build containers when its main process is gone.

A self-contained program, started in a session of its own so that neither Ctrl-C nor the end of a
terminal reaches it. It holds the lock of the bake's session folder; a later bake takes a session
whose lock is free for dead and tidies up after it (see session.py).

Arguments: PID of the main process, session folder, label of the session's containers, the lock
file of the store, which is held shared, and those of the images that the bake makes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import subprocess
import sys


def keep(pid: int, folder: str, label: str, store: str, images: list[str]) -> None:
    """Wait for process *pid* to end, then remove what it left; see the module."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        watched = -1
    # In one order for all bakes, so that two never wait for each other.
    wanted = [(os.path.join(folder, "lock"), fcntl.LOCK_EX), (store, fcntl.LOCK_SH)]
    for path, operation in (*wanted, *((image, fcntl.LOCK_EX) for image in sorted(images))):
        if not _lock(path, operation, watched):
            break
    # The parent waits for this byte: from here on the session is guarded.
    os.write(1, b".")
    os.close(1)
    if watched >= 0:
        select.select([watched], [], [])
    # A task that outlives the main process may be starting a container just now. It looks for this
    # file afterwards: either it finds it gone, or the listing below finds its container.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, "open"))
    listing = subprocess.run(
        ["docker", "ps", "--all", "--quiet", "--filter", f"label={label}"],
        capture_output=True,
        check=False,
    )
    left = listing.stdout.decode().split()
    # A bake that ended well, or kept something on purpose, has said so in its folder.
    kept = _kept(folder)
    gone = [name for name in left if not any(k.startswith(name) for k in kept)]
    removed = True
    if gone:
        done = subprocess.run(
            ["docker", "rm", "--force", "--volumes", *gone], capture_output=True, check=False
        )
        removed = done.returncode == 0
    if not kept:
        _remove_images(f"kiln-chain:*-{os.path.basename(folder)}")
    if listing.returncode == 0 and removed and not kept:
        shutil.rmtree(folder, ignore_errors=True)


def _lock(path: str, operation: int, watched: int) -> bool:
    """Hold *path*, shared or alone, until this process ends; say so when another bake has it.

    False when the process behind *watched* ended before it was free.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    told = False
    while True:
        try:
            fcntl.flock(fd, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                os.write(1, b"w")
                told = True
        else:
            return True
        # flock cannot be waited for together with the end of a process: look now and then.
        if watched < 0 or select.select([watched], [], [], 0.2)[0]:
            return False


def _remove_images(pattern: str) -> None:
    """Take the names away under which build containers were started, when the bake could not."""
    listing = subprocess.run(
        [
            *("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"),
            *("--filter", f"reference={pattern}"),
        ],
        capture_output=True,
        check=False,
    )
    if names := listing.stdout.decode().split():
        subprocess.run(
            ["docker", "image", "rm", "--no-prune", *names], capture_output=True, check=False
        )


def _kept(folder: str) -> list[str]:
    try:
        with open(os.path.join(folder, "kept"), encoding="ascii") as stream:
            return stream.read().split()
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    keep(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
