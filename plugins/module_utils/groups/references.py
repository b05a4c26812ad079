# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that stand elsewhere: variables, files and programs of who runs Ansible."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..core.command import Runner, run
from ..core.errors import DriverError
from .definition_model import Reference

_PATIENCE = 60.0


def resolve(
    reference: Reference,
    what: str,
    *,
    runner: Runner = run,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> bytes:
    """Return the value that *reference* leads to; DriverError says which it is, never the value.

    :param what: the beginning of the message, such as ``web.yml:12: secrets[0]``.
    :param folder: what relative paths start from; the working directory by default.
    """
    if reference.kind == "env":
        value = (os.environ if environ is None else environ).get(reference.name)
        if value is None:
            raise DriverError(f"{what}: the variable {reference.name} is not in the environment.")
        return value.encode("utf-8", "surrogateescape")
    if reference.kind == "file":
        path = (folder or Path()) / Path(reference.name).expanduser()
        try:
            return path.read_bytes()
        except OSError as error:
            raise DriverError(f"{what}: {path} cannot be read: {error.strerror}.") from error
    done = runner(list(reference.command), check=False, timeout=_PATIENCE, cwd=folder)
    if done.status != 0:
        # What it wrote could be the secret itself.
        raise DriverError(f"{what}: {reference.command[0]} failed with exit status {done.status}.")
    return done.stdout.removesuffix(b"\n")
