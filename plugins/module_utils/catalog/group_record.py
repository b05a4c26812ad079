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

    :param running: numbers of the versions that its instances run, the wanted one first; two or
        more during a rotation.
    :param previous: what it was at rest on before, the last first, so that it can go back. What
        a rotation gave up is not among them.
    :param channel: the channel that it follows, None when it is given versions.
    :param updated: RFC 3339, UTC, as is since.
    :param digest: of the index of the wanted version.
    :param settled: the version that all instances ran when it was last at rest, None before that.
    :param since: when it began to run what it runs.
    :param instances: how many there are.
    :param by: name and address of who changed the record last.
    """

    name: str
    image: str
    running: tuple[str, ...]
    previous: tuple[str, ...] = ()
    channel: str | None = None
    updated: str = ""
    digest: str = ""
    settled: str | None = None
    since: str = ""
    instances: int = 0
    by: str = ""

    @property
    def needed(self) -> dict[str, str]:
        """Why a version must stay, by its number: what runs, and what it can go back to."""
        last = () if self.settled is None else (self.settled,)
        back = dict.fromkeys((*last, *self.previous[:1]), f"the group {self.name} ran it last")
        return {**back, **dict.fromkeys(self.running, f"the group {self.name} runs it")}

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
            settled = document.get("settled")
            return cls(
                name=str(document["name"]),
                image=str(document["image"]),
                running=tuple(str(one) for one in document["running"]),
                previous=tuple(str(one) for one in document.get("previous") or ()),
                channel=document.get("channel"),
                updated=str(document.get("updated") or ""),
                digest=str(document.get("digest") or ""),
                settled=None if settled is None else str(settled),
                since=str(document.get("since") or ""),
                instances=int(document.get("instances") or 0),
                by=str(document.get("by") or ""),
            )
        except (LookupError, TypeError, ValueError) as error:
            raise DriverError(f"{where} is no record of a group: {error!r}.") from error
