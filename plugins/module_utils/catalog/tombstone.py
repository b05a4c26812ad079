# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stays of versions that were pruned: their numbers are taken, their bytes are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..core.errors import DriverError


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A version that was pruned.

    :param index: digest of its index: should the same bytes be baked again, they are it again.
    :param at: RFC 3339, UTC.
    :param why: the rule that let it go.
    """

    version: str
    index: str
    at: str
    by: str
    why: str


def tombstones_document(tombstones: Mapping[str, Tombstone]) -> dict[str, Any]:
    """Return an image's tombstones as the mapping of their file."""
    return {
        "pruned": {
            number: {key: value for key, value in asdict(one).items() if key != "version"}
            for number, one in tombstones.items()
        }
    }


def read_tombstones(document: Mapping[str, Any], where: str) -> dict[str, Tombstone]:
    """The inverse of tombstones_document; DriverError names the file when it is malformed."""
    try:
        return {
            str(number): Tombstone(str(number), **{key: str(v) for key, v in value.items()})
            for number, value in document["pruned"].items()
        }
    except (LookupError, TypeError, AttributeError) as error:
        raise DriverError(f"{where} is no file of pruned versions: {error!r}.") from error
