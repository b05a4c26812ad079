# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk as a volume of a storage pool of libvirt, through libvirt's own client."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..core.command import Completed, Runner, last_lines, run
from ..core.errors import DriverError
from ..core.files import LockBusy, locked
from .steps import Steps
from .subject import Subject, verified_file

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_QUICK = 60.0  # seconds for what moves no content


@dataclass(frozen=True, slots=True)
class Libvirt:
    """The libvirt at *uri*, as ``virsh --connect`` takes it; empty leaves it to virsh.

    :param timeout: seconds for the transfer of one disk.
    """

    uri: str = ""
    timeout: float = 3600.0
    runner: Runner = run

    def __call__(
        self, *arguments: str, check: bool = True, timeout: float | None = None
    ) -> Completed:
        """Run ``virsh ARGUMENTS``; DriverError names the command when it fails."""
        connect = ["--connect", self.uri] if self.uri else []
        done = self.runner(
            ["virsh", "--quiet", *connect, *arguments], check=False, timeout=timeout or _QUICK
        )
        if check and done.status != 0:
            where = f" at {self.uri}" if self.uri else ""
            raise DriverError(f"virsh {arguments[0]}{where} failed: {last_lines(done)}")
        return done

    def volumes(self, pool: str) -> set[str]:
        """Return the names of the pool's volumes; DriverError when it is not there or not on."""
        said = self("vol-list", "--pool", pool).text
        return {line.split()[0] for line in said.splitlines() if line.strip()}

    def digest(self, pool: str, name: str, size: int) -> str:
        """Return the SHA-256 of the first *size* bytes of a volume, which are read back."""
        with tempfile.TemporaryDirectory(prefix="kiln-libvirt-") as folder:
            pipe = Path(folder) / "volume"
            os.mkfifo(pipe, 0o600)
            with ThreadPoolExecutor(max_workers=1) as pool_of_one:
                reading = pool_of_one.submit(_hash_of, pipe)
                try:
                    what = ["--pool", pool, "--vol", name, "--file", str(pipe)]
                    self("vol-download", *what, "--length", str(size), timeout=self.timeout)
                finally:
                    # One that failed before it opened the pipe leaves the reader waiting for a
                    # writer; where the reader is done already, there is none to be written to.
                    with contextlib.suppress(OSError):
                        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
                return reading.result()


def _hash_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class LibvirtPublication:
    """One version's disk on its way into a pool.

    :param locks: folder for the lock that keeps two runs from the same volume.
    """

    subject: Subject
    pool: str
    name: str
    libvirt: Libvirt
    locks: Path
    steps: Steps

    def run(self) -> str:
        """Bring the volume there and return its path, empty when it is not there yet.

        DriverError when a volume of that name holds something else.
        """
        self._check()
        digest = hashlib.sha256(f"{self.libvirt.uri} {self.pool} {self.name}".encode())
        try:
            with locked(self.locks / f"libvirt-{digest.hexdigest()[:32]}.lock", wait=False):
                return self._run()
        except LockBusy as error:
            raise DriverError(
                f"Another run is at the volume {self.name} of the pool {self.pool};"
                " wait for it to end."
            ) from error

    def _check(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise DriverError(f"The option name is {self.name!r}, which cannot name a volume.")

    def _run(self) -> str:
        there = self.libvirt.volumes(self.pool)
        if self.name not in there:
            self.steps.take(
                f"Upload {self.subject.named} to the volume {self.name} of the pool {self.pool}",
                lambda: self._upload(there),
            )
            return self._path() if self.steps.acts else ""
        if self._read_back(self.name) != self.subject.sha256:
            raise DriverError(
                f"The pool {self.pool} has a volume {self.name} that is not the disk of"
                f" {self.subject.named}.",
                hint=f"Give another name, or remove it: virsh vol-delete {self.name}"
                f" --pool {self.pool}",
            )
        return self._path()

    def _upload(self, there: set[str]) -> None:
        """Send the disk under another name, verify it there, and then give it its own.

        libvirt cannot rename a volume, but it copies one itself, to the end even when we are
        killed: what has the name is whole.
        """
        partial = f"{self.name}.partial"
        size = self.subject.disk.blob.size
        source = verified_file(self.subject)
        if partial in there:  # of a run that was killed
            self._delete(partial)
        try:
            # As raw, whatever it holds: libvirt then neither makes nor converts what is in it.
            create = ["--capacity", f"{size}B", "--allocation", "0", "--format", "raw"]
            self.libvirt("vol-create-as", "--pool", self.pool, "--name", partial, *create)
            to = ["--pool", self.pool, "--vol", partial]
            long = self.libvirt.timeout
            self.libvirt("vol-upload", *to, "--file", str(source), "--sparse", timeout=long)
            found = self._read_back(partial)
            if found != self.subject.sha256:
                raise DriverError(
                    f"What the pool {self.pool} received is not what was sent: sha256:{found}"
                    f" instead of {self.subject.disk.blob.digest}."
                )
            self.libvirt("vol-clone", *to, "--newname", self.name, timeout=long)
        finally:
            self.libvirt("vol-delete", "--pool", self.pool, "--vol", partial, check=False)
        # So that libvirt looks what format it has; it does so by itself some time.
        self.libvirt("pool-refresh", self.pool, check=False)

    def _read_back(self, name: str) -> str:
        return self.libvirt.digest(self.pool, name, self.subject.disk.blob.size)

    def _delete(self, name: str) -> None:
        self.libvirt("vol-delete", "--pool", self.pool, "--vol", name)

    def _path(self) -> str:
        return self.libvirt("vol-path", "--pool", self.pool, "--vol", self.name).text.strip()
