# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which revision of the user's own repository a definition is from."""

from __future__ import annotations

from pathlib import Path

from ..core.command import Runner, run
from ..core.errors import DriverError


def definition_revision(folder: Path, runner: Runner = run) -> str | None:
    """Return the commit that *folder*'s files are at, None outside of a Git repository.

    A commit with changes on top is marked with ``-dirty``, as git-describe does.
    """
    try:
        commit = runner(["git", "-C", str(folder), "rev-parse", "HEAD"], check=False)
        status = runner(["git", "-C", str(folder), "status", "--porcelain", "--", "."], check=False)
    except DriverError:
        return None  # Git is not installed: the catalog will say so itself
    if commit.status != 0 or status.status != 0:
        return None
    return commit.text + ("-dirty" if status.text else "")
