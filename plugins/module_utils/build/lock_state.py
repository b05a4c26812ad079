# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bake has to know of locks when it plans: whether there is one, and its part in keys.

Reading locks and working with them is elsewhere, and loaded only when something is to be done.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..core.canonical import encode
from ..core.errors import DriverError
from ..core.files import write_whole
from .definition_model import Definition
from .records import BaseRecord

FORMAT = 1
"""Counts up when a bake reads the same lock in another way."""


REFRESH = "refresh"
"""Stands in keys for packages that are being chosen: such layers are not for later bakes."""


class LockMode(StrEnum):
    """What a bake has to do with locks.

    NONE: there is none. USE: install what it says. ALL: make it anew from the archive. SECURITY:
    move only what the security archives have newer.
    """

    NONE = "none"
    USE = "use"
    ALL = "all"
    SECURITY = "security"

    @property
    def makes_lock(self) -> bool:
        """Whether the end of the bake is a lock and not a version."""
        return self in (LockMode.ALL, LockMode.SECURITY)

    @property
    def reads_lock(self) -> bool:
        """Whether packages come from a lock that is there."""
        return self in (LockMode.USE, LockMode.SECURITY)


@dataclass(frozen=True, slots=True)
class LockDigests:
    """The parts of bake keys that a lock gives: one for the base, one for all layers."""

    base: str
    layers: str


def lock_path(definition: Definition) -> Path:
    """Return where the lock of *definition* is, or would be."""
    return definition.directory / f"{definition.name}.lock.yml"


def shown_lock_path(definition: Definition) -> str:
    """Return the path of the lock as messages name it: beside the definition as it was named."""
    return str(Path(definition.shown_path).parent / f"{definition.name}.lock.yml")


def lock_digests(definition: Definition, remembered: Path) -> LockDigests | None:
    """Return what the lock of *definition* gives to its keys, None when there is no lock.

    A lock is long, and read in each bake: what the same bytes gave before is remembered.

    :param remembered: folder of what is remembered; it may be deleted.
    """
    try:
        content = lock_path(definition).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(definition, error) from error
    note = remembered / f"{hashlib.sha256(content + b'%d' % FORMAT).hexdigest()}.json"
    try:
        known = json.loads(note.read_bytes())
        return LockDigests(str(known["base"]), str(known["layers"]))
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        pass
    # Only now: loading the reader takes as long as the rest of this.
    from .lock_file import read_lock

    lock = read_lock(definition)
    if lock is None:
        return None
    digests = lock.digests
    write_whole(note, encode({"base": digests.base, "layers": digests.layers}))
    return digests


def unreadable(definition: Definition, error: OSError) -> DriverError:
    """Return why the file of a lock cannot be read."""
    return DriverError(f"{shown_lock_path(definition)}: cannot be read: {error.strerror}.")


def digests_json(digests: LockDigests) -> dict[str, str]:
    """Return the digests as JSON-able values."""
    return {"base": digests.base, "layers": digests.layers}


def lock_state(mode: LockMode, digests: LockDigests | None) -> dict[str, Any]:
    """Return what the session keeps of the decision, for Locking.of."""
    kept = digests_json(digests) if digests is not None and mode.reads_lock else None
    return {"lock_mode": str(mode), "lock": kept}


def base_lock_key(mode: LockMode, digests: LockDigests | None) -> str | None:
    """Return what enters the base's key."""
    if mode is LockMode.ALL:
        return REFRESH
    if digests is None or mode is LockMode.NONE:
        return None
    return f"security {digests.base}" if mode is LockMode.SECURITY else digests.base


def layers_lock_key(mode: LockMode, digests: LockDigests | None) -> str | None:
    """Return what enters the keys of layers."""
    if mode.makes_lock:
        return REFRESH
    return None if digests is None or mode is LockMode.NONE else digests.layers


def lists_key(base: BaseRecord, mode: LockMode) -> str:
    """Images that start from the same first layer ask the same archive.

    With a lock they ask none, and a new lock must not be made from lists of an hour ago.
    """
    if mode is not LockMode.NONE:
        return ""
    return base.layers[0].diff_id.removeprefix("sha256:")[:16]
