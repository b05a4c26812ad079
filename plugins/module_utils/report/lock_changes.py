# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new lock changed, as a table that a person reads in a terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HEAD = ("package", "old", "new", "from")


def render_lock_changes(lock: Mapping[str, Any]) -> str:
    """Return which packages the lock of an image moved, a row each: package, old, new, from."""
    changes = [tuple(str(cell) for cell in row) for row in lock["changes"]]
    title = f"{lock['name']}: {lock['packages']} packages in {lock['lock']}"
    if not changes:
        return f"\n{title}, {'written anew' if lock['written'] else 'as before'}: none moved.\n"
    rows = [_HEAD, *((name, old or "-", new or "-", suite) for name, old, new, suite in changes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    table = ["  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(["", f"{title}, {len(changes)} moved:", "", *map(_indented, table), ""])


def _indented(line: str) -> str:
    return f"  {line}".rstrip()
