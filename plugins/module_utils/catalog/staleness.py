# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far behind what is in use is: a row for each image and channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from .documents import read_time
from .group_record import GroupRecord
from .repository import Catalog
from .version import Version, VersionNumber

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Row:
    """A channel of an image, or what no channel points to: the newest version of an image.

    :param age: days since the version was recorded.
    :param newest: number of the image's newest version.
    :param base: the version that it is built on, as ``NAME NUMBER``; None for another base.
    :param base_newest: the newest usable version of the base, when that is a newer one.
    :param revoked: why the version is not to be used.
    :param updates: packages that have a security update; None when that is not known.
    :param unknown: why that is not known.
    :param failures: rules of the channel that the version fails now.
    :param runs: the groups whose instances run it.
    """

    image: str
    channel: str | None
    version: str
    age: float
    newest: str
    base: str | None
    base_newest: str | None
    revoked: str | None
    updates: tuple[str, ...] | None
    unknown: str
    failures: tuple[str, ...]
    runs: tuple[str, ...]

    @property
    def needs_rebuild(self) -> bool:
        """Whether a new bake would make it better."""
        return bool(self.updates or self.base_newest)

    def as_json(self) -> dict[str, Any]:
        """The row as JSON-able values."""
        return {**asdict(self), "needs_rebuild": self.needs_rebuild}


Updates = Callable[[Version], tuple[Sequence[str] | None, str]]
"""Gives the packages of a version that have a security update, or None and why not."""


def rows(
    catalog: Catalog,
    images: Sequence[str],
    *,
    updates: Updates,
    failures: Callable[[Version, str], Sequence[str]],
) -> Iterator[Row]:
    """Yield the rows of *images*, channels in the order of promotion.

    Only what a row speaks of is read, so that it takes no longer when there are many versions.
    """
    order, groups = catalog.settings().order, catalog.groups()
    # Many images are built on the same few.
    newest_of = cache(lambda base: _newest_usable(catalog, base))
    for image in images:
        numbers = catalog.numbers(image)
        if not numbers:
            continue
        channels = catalog.channels(image)
        named = [name for name in (*order, *channels) if name in channels]
        places: list[tuple[str | None, str]] = [
            (name, channels[name].version) for name in dict.fromkeys(named)
        ]
        newest = str(numbers[-1])
        if newest not in {number for _name, number in places}:
            places.append((None, newest))
        for name, number in places:
            version = catalog.version(image, number)
            if version is not None:
                found = () if name is None else failures(version, name)
                yield _row(
                    catalog, version, name, newest, updates(version), found, groups, newest_of
                )


def _row(
    catalog: Catalog,
    version: Version,
    channel: str | None,
    newest: str,
    updates: tuple[Sequence[str] | None, str],
    failures: Sequence[str],
    groups: Sequence[GroupRecord],
    newest_of: Callable[[str], VersionNumber | None],
) -> Row:
    now = catalog.now()
    recorded = read_time(version.recorded or version.created, "The time of a version")
    struck = catalog.revocation_of(version, now)
    behind = None
    if version.parent is not None and version.parent_version is not None:
        usable = newest_of(version.parent)
        if usable is not None and usable > VersionNumber.parse(version.parent_version):
            behind = str(usable)
    pending, unknown = updates
    return Row(
        image=version.image,
        channel=channel,
        version=version.number,
        age=round((now - recorded).total_seconds() / _DAY, 1),
        newest=newest,
        base=f"{version.parent} {version.parent_version}" if version.parent else None,
        base_newest=behind,
        revoked=None
        if struck is None
        else f"{struck[0].image} {struck[0].number}: {struck[1].reason}",
        updates=None if pending is None else tuple(pending),
        unknown=unknown,
        failures=tuple(failures),
        runs=tuple(
            group.name
            for group in groups
            if group.image == version.image and version.number in group.running
        ),
    )


def _newest_usable(catalog: Catalog, image: str) -> VersionNumber | None:
    """Return the newest version of *image* that is not revoked."""
    for number in reversed(catalog.numbers(image)):
        version = catalog.version(image, str(number))
        if version is not None and catalog.revocation_of(version) is None:
            return number
    return None
