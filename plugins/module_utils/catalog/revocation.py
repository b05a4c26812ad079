# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Revocations: versions that are not to be used any more, from now or from a later time on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ..core.errors import DriverError
from .channel import Channel, Move
from .documents import read_time, render_time
from .version import Version, VersionNumber


@dataclass(frozen=True, slots=True)
class Revocation:
    """A version is not to be used from *at* on (RFC 3339, UTC)."""

    version: str
    at: str
    reason: str
    by: str
    decided: str

    def holds(self, now: datetime) -> bool:
        """Tell whether the time has come."""
        return read_time(self.at, f"The time of the revocation of {self.version}") <= now


def revocations_document(revocations: Mapping[str, Revocation]) -> dict[str, Any]:
    """Return an image's revocations as the mapping of their file."""
    return {
        "revoked": {
            number: {key: value for key, value in asdict(one).items() if key != "version"}
            for number, one in revocations.items()
        }
    }


def read_revocations(document: Mapping[str, Any], where: str) -> dict[str, Revocation]:
    """The inverse of revocations_document; DriverError names the file when it is malformed."""
    try:
        return {
            str(number): Revocation(str(number), **{key: str(v) for key, v in value.items()})
            for number, value in document["revoked"].items()
        }
    except (LookupError, TypeError, AttributeError) as error:
        raise DriverError(f"{where} is no file of revocations: {error!r}.") from error


@dataclass(frozen=True, slots=True)
class Stranded:
    """A channel points to a version that is revoked, itself or by an ancestor.

    :param target: the version that it is to point to instead; None leaves it.
    """

    image: str
    channel: str
    version: str
    target: str | None


@dataclass(frozen=True, slots=True)
class RevocationPlan:
    """What taking a version back comes to.

    :param revocation: None when it is revoked so already.
    :param descendants: image and number of every version that is built on it, and inherits.
    """

    image: str
    version: str
    revocation: Revocation | None
    descendants: tuple[tuple[str, str], ...]
    stranded: tuple[Stranded, ...]

    @property
    def moves(self) -> tuple[Stranded, ...]:
        """The channels that are moved."""
        return tuple(one for one in self.stranded if one.target is not None)


def descendants(image: str, number: str, versions: Iterable[Version]) -> tuple[Version, ...]:
    """Return every one of *versions* that is built, also through others, on one."""
    children: dict[tuple[str, str], list[Version]] = {}
    for version in versions:
        if version.parent is not None and version.parent_version is not None:
            children.setdefault((version.parent, version.parent_version), []).append(version)
    found: dict[tuple[str, str], Version] = {}
    pending = [(image, number)]
    while pending:
        for version in children.get(pending.pop(), ()):
            key = (version.image, version.number)
            if key not in found:
                found[key] = version
                pending.append(key)
    return tuple(
        sorted(found.values(), key=lambda one: (one.image, VersionNumber.parse(one.number)))
    )


def plan_revocation(
    image: str,
    number: str,
    *,
    reason: str,
    at: datetime,
    by: str,
    now: datetime,
    revoked: Mapping[str, Mapping[str, Revocation]],
    heirs: Sequence[Version],
    channels: Mapping[str, Mapping[str, Channel]],
    move_to: Mapping[str, str] | None = None,
    move_back: bool = False,
) -> RevocationPlan:
    """Decide about one version. Pure.

    :param revoked: each image's revocations so far.
    :param heirs: what is built on it.
    :param channels: each image's channels.
    :param move_to: by image, the version that its stranded channels are to point to.
    :param move_back: the others go back to the newest version of their history that is not
        revoked, where there is one.
    """
    before = revoked.get(image, {}).get(number)
    wanted = Revocation(number, render_time(at), reason, by, render_time(now))
    same = before is not None and (before.at, before.reason) == (wanted.at, wanted.reason)
    if before is not None and before.holds(now) and at <= now:
        # Taken back already: when and why first is what counts.
        same = True
    struck = {(image, number), *((heir.image, heir.number) for heir in heirs)}
    stranded = []
    for name in sorted({one for one, _number in struck}):
        gone = {one for other, one in struck if other == name}
        gone |= {one for one, entry in revoked.get(name, {}).items() if entry.holds(now)}
        for channel in channels.get(name, {}).values():
            if (name, channel.version) not in struck:
                continue
            target = (move_to or {}).get(name)
            if target is not None and target in gone:
                raise DriverError(
                    f"{name} {target} is revoked too; {channel.name} cannot be moved to it."
                )
            if target is None and move_back:
                target = next((one for one in channel.history if one not in gone), None)
            stranded.append(Stranded(name, channel.name, channel.version, target))
    return RevocationPlan(
        image,
        number,
        None if same else wanted,
        tuple((heir.image, heir.number) for heir in heirs),
        tuple(stranded),
    )


def moved_channels(
    plan: RevocationPlan, channels: Mapping[str, Mapping[str, Channel]], *, by: str, now: datetime
) -> dict[str, dict[str, Channel]]:
    """Return the channels of each image in which *plan* moves some."""
    found: dict[str, dict[str, Channel]] = {}
    for one in plan.moves:
        mine = found.setdefault(one.image, dict(channels[one.image]))
        why = f"{plan.image} {plan.version} is revoked"
        if plan.revocation is not None:
            why += f": {plan.revocation.reason}"
        move = Move(str(one.target), render_time(now), by, why)
        mine[one.channel] = mine[one.channel].moved(move)
    return found
