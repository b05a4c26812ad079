# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running mmdebstrap, with the root that it makes in memory where there is room for it.

It unpacks thousands of small files only to pack them into a tar. On a disk these take most of a
bootstrap's time, because dpkg waits for each of its notes to be written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

ENOUGH = 4 << 30
"""Bytes of memory that must be free; the root may take half of what is."""

_FULL = b"No space left on device"

# The mount is in a namespace of mmdebstrap's own: it goes with the last of its processes, however
# they end. Where that is not allowed, as in most containers, the root is on the disk.
_IN_MEMORY = """\
place=$1 size=$2
shift 2
if unshare --mount mount -t tmpfs -o "size=$size,mode=0755" kiln "$place" 2> /dev/null; then
  exec unshare --mount sh -c '
    mount -t tmpfs -o "size=$2,mode=0755" kiln "$1" && export TMPDIR="$1" && shift 2 && exec "$@"
  ' bootstrap "$place" "$size" "$@"
fi
exec "$@"
"""


def available_memory(report: Path = Path("/proc/meminfo")) -> int:
    """Return the bytes of memory that programs can have, 0 when the kernel does not say."""
    try:
        lines = report.read_text("ascii").splitlines()
    except OSError:
        return 0
    found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return found[0] << 10 if found else 0


def in_memory(argv: Sequence[str], place: Path, memory: int) -> list[str] | None:
    """Return the command line for *argv* with its temporary files in memory at *place*.

    None when nothing can be mounted, or *memory* bytes are too few.
    """
    programs = (argv[0], "unshare", "mount")
    if memory < ENOUGH or os.geteuid() != 0 or None in map(shutil.which, programs):
        return None
    return ["sh", "-c", _IN_MEMORY, "bootstrap", str(place), str(memory // 2), *argv]


def run_bootstrap(
    argv: Sequence[str],
    tar: IO[bytes],
    log: IO[bytes],
    memory: Callable[[], int] = available_memory,
) -> int:
    """Run mmdebstrap's command line *argv* and return its exit status.

    A root that turns out to be too large for the memory is made again on the disk.

    :param tar: an empty file for its standard output.
    :param log: an empty file for what it says.
    """
    with tempfile.TemporaryDirectory(prefix="kiln-root-") as folder:
        Path(folder).chmod(0o755)  # apt fetches as a user of its own
        quick = in_memory(argv, Path(folder), memory())
        if quick is not None:
            status = _run(quick, tar, log)
            log.seek(0)
            if status == 0 or _FULL not in log.read():
                return status
            for file in (tar, log):
                file.seek(0)
                file.truncate()
    return _run(argv, tar, log)


def _run(argv: Sequence[str], tar: IO[bytes], log: IO[bytes]) -> int:
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=tar, stderr=log) as process:
        return process.wait()
