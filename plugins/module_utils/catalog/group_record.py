# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs where: ``groups/NAME.yml``, a file for each instance group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..core.errors import DriverError


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """An instance group as the catalog knows it.

    :param running: numbers of the versions that its instances run; two during a rotation.
    :param previous: what it ran before, the last first, so that it can go back.
    :param channel: the channel that it follows, None when it is given versions.
    :param updated: RFC 3339, UTC.
    """

    name: str
    image: str
    running: tuple[str, ...]
    previous: tuple[str, ...] = ()
    channel: str | None = None
    updated: str = ""

    def as_document(self) -> dict[str, Any]:
        """The record as the mapping of its file."""
        return {
            **asdict(self),
            "running": list(self.running),
            "previous": list(self.previous),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any], where: str) -> GroupRecord:
        """The inverse of as_document; DriverError names the file when it is malformed."""
        try:
            return cls(
                name=str(document["name"]),
                image=str(document["image"]),
                running=tuple(str(one) for one in document["running"]),
                previous=tuple(str(one) for one in document.get("previous") or ()),
                channel=document.get("channel"),
                updated=str(document.get("updated") or ""),
            )
        except (LookupError, TypeError) as error:
            raise DriverError(f"{where} is no record of a group: {error!r}.") from error
