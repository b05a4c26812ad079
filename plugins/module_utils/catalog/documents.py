# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog's files as YAML: read and written in one way, and times as they are in them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..core.errors import DriverError

# A controller always has PyYAML; a target that unpacks this file along with others may not.
with contextlib.suppress(ImportError):
    import yaml


def read_document(path: Path) -> dict[str, Any] | None:
    """Return the mapping in the file at *path*, None when there is no file.

    Raises DriverError, with the file's name, when it is no mapping.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        # libyaml's is ten times as quick and not in every build of PyYAML.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        document = yaml.load(content, Loader=loader)  # noqa: S506  # both are safe loaders
    except yaml.YAMLError as error:
        raise DriverError(f"{path} cannot be read: {error}.", hint=_HINT) from error
    if not isinstance(document, dict):
        raise DriverError(f"{path} holds no mapping.", hint=_HINT)
    return document


def write_document(document: Mapping[str, Any]) -> bytes:
    """Return *document* as the bytes of a file; equal documents give equal bytes."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(dict(document), Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text.encode()


def render_time(moment: datetime) -> str:
    """Return *moment* in UTC as RFC 3339 has it, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_time(value: object, what: str) -> datetime:
    """Return the time that *value* says, DriverError naming *what* when it says none.

    Without a zone it is UTC; a date alone is its first moment.
    """
    if isinstance(value, datetime):
        found = value
    else:
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError as error:
            raise DriverError(
                f"{what} is {value!r}, which is no time.",
                hint="Write it such as 2026-08-01T12:00:00Z, or 2026-08-01.",
            ) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


_HINT = "git log shows who changed it, git checkout brings it back."
