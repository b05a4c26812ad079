# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a bake keeps things on the controller, and who holds what."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import DriverError


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one user or team on one controller: store, cache, catalog, sessions, locks."""

    root: Path

    @classmethod
    def at(cls, option: str | None, environment: Mapping[str, str] | None = None) -> Home:
        """The home named by *option*, else by ``KILN_HOME``, else below ``XDG_DATA_HOME``.

        :param environment: where to look, by default the environment of this process.

        Raises DriverError when the folder cannot be made or written.
        """
        environment = os.environ if environment is None else environment
        default = Path(environment.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "kiln"
        root = Path(option or environment.get("KILN_HOME") or default).expanduser().resolve()
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DriverError(
                f"The home {root} cannot be made: {error.strerror}.",
                hint="Name another folder with kiln_home or KILN_HOME.",
            ) from error
        if not os.access(root, os.W_OK | os.X_OK):
            raise DriverError(
                f"The home {root} cannot be written by this user.",
                hint="Name another folder with kiln_home or KILN_HOME.",
            )
        return cls(root)

    @property
    def store(self) -> Path:
        """The OCI image layout."""
        return self.root / "store"

    @property
    def cache(self) -> Path:
        """Records of bases, layers and bakes by their key."""
        return self.root / "cache"

    @property
    def catalog(self) -> Path:
        """The Git repository of versions."""
        return self.root / "catalog"

    @property
    def sessions(self) -> Path:
        """One folder per bake that is going on, or that kept something."""
        return self.root / "sessions"

    @property
    def locks(self) -> Path:
        """Lock files; they may be left lying, the kernel knows who holds them."""
        return self.root / "locks"

    def secret_key(self) -> bytes:
        """The key under which secret variables enter a bake key: 32 random bytes of this home.

        A vault value is thus recognised when it comes again, and cannot be guessed from the
        manifest by who has not the home.
        """
        path = self.root / "secret.key"
        try:
            return path.read_bytes()
        except FileNotFoundError:
            pass
        fresh = self.root / f".secret.{os.getpid()}"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, os.urandom(32))
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            # link(2) refuses an existing name, so of two first runs one key wins for both.
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        return path.read_bytes()
