# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention: which versions stay, by which rule, and what the others give back. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ..core.errors import DriverError
from .channel import Channel
from .documents import read_time
from .group_record import GroupRecord
from .version import Version, VersionNumber

Key = tuple[str, str]
"""Image and number of a version."""


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How much stays, beside what is in use.

    :param last: versions of each image, the newest that are not revoked.
    :param days: versions that were recorded in so many days.
    :param channel: versions of the history of each channel, the present one counted.
    """

    last: int = 5
    days: float = 30.0
    channel: int = 3

    @classmethod
    def from_document(cls, document: Mapping[str, Any], where: str) -> RetentionPolicy:
        """Read a mapping with the names of the parameters; DriverError names what is wrong."""
        unknown = sorted(map(str, document.keys() - {"last", "days", "channel"}))
        if unknown:
            raise DriverError(f"{where}: {unknown[0]} is unknown; there are last, days, channel.")
        for name, value in document.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            whole = name == "days" or isinstance(value, int)
            if not number or not whole or value < (1 if name == "channel" else 0):
                raise DriverError(f"{where}: {name} is {value!r}, which is no such number.")
        return cls(**document)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of an image when its versions are judged.

    :param revoked: numbers that are not to be used now.
    :param pins: numbers that somebody wants to stay, each with the reason.
    """

    channels: Mapping[str, Channel]
    revoked: Collection[str] = ()
    pins: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a version.

    :param rules: every rule that keeps it; for one that goes, why none does.
    :param bytes: what its going frees. A blob that several share counts for the last to go.
    """

    image: str
    number: str
    keep: bool
    rules: tuple[str, ...]
    bytes: int = 0

    @property
    def key(self) -> Key:
        """Image and number."""
        return self.image, self.number

    def as_json(self) -> dict[str, Any]:
        """The decision as JSON-able values."""
        return {
            "image": self.image,
            "version": self.number,
            "keep": self.keep,
            "rules": list(self.rules),
            "bytes": self.bytes,
        }


def plan_retention(
    versions: Iterable[Version],
    *,
    images: Mapping[str, Kept],
    groups: Iterable[GroupRecord],
    referred: Mapping[str, str],
    policy: RetentionPolicy,
    now: datetime,
) -> tuple[Decision, ...]:
    """Decide about every one of *versions*, ordered by image and number.

    :param images: what is known of each image; one that is missing has no channel and no pin.
    :param referred: digests of indexes that something else names, such as a lock, and what.
    """
    by_key = {(one.image, one.number): one for one in versions}
    keys = sorted(by_key, key=lambda key: (key[0], VersionNumber.parse(key[1])))
    rules: dict[Key, list[str]] = {key: [] for key in keys}

    def keep(image: str, number: str, why: str) -> None:
        if (image, number) in rules:
            rules[image, number].append(why)

    numbers: dict[str, list[str]] = {}
    for image, number in keys:
        numbers.setdefault(image, []).append(number)
    for image, mine in numbers.items():
        known = images.get(image, Kept({}))
        usable = [number for number in mine if number not in known.revoked]
        for number in usable[max(0, len(usable) - policy.last) :]:
            keep(image, number, f"among the last {policy.last}")
        for name, channel in known.channels.items():
            keep(image, channel.version, f"{name} points to it")
            for number in channel.history[1 : policy.channel]:
                keep(image, number, f"{name} pointed to it")
        for number, reason in (known.pins or {}).items():
            keep(image, number, f"pinned: {reason}")
    for key, version in by_key.items():
        if _is_young(version, policy, now):
            keep(*key, f"younger than {policy.days:g} days")
        if version.index in referred:
            keep(*key, f"{referred[version.index]} refers to it")
    for group in groups:
        for number, why in group.needed.items():
            keep(group.image, number, why)
    _keep_bases(by_key, rules)
    return tuple(
        Decision(*key, bool(rules[key]), tuple(rules[key]) or (_why_not(by_key[key], images),))
        for key in keys
    )


def _is_young(version: Version, policy: RetentionPolicy, now: datetime) -> bool:
    recorded = read_time(version.recorded or version.created, f"The time of {version.number}")
    return now - recorded < timedelta(days=policy.days)


def _keep_bases(versions: Mapping[Key, Version], rules: dict[Key, list[str]]) -> None:
    """Keep what a version that stays is built on."""
    pending = [key for key, why in rules.items() if why]
    while pending:
        image, number = key = pending.pop()
        version = versions[key]
        if version.parent is None or version.parent_version is None:
            continue
        base = (version.parent, version.parent_version)
        if base in rules:
            if not rules[base]:
                pending.append(base)
            rules[base].append(f"base of {image} {number}")


def _why_not(version: Version, images: Mapping[str, Kept]) -> str:
    known = images.get(version.image)
    if known is not None and version.number in known.revoked:
        return "revoked, and nothing needs it"
    return "old, and nothing needs it"


def with_bytes(
    decisions: Sequence[Decision],
    blobs: Mapping[Key, Mapping[str, int]],
    held: Collection[str] = (),
) -> tuple[Decision, ...]:
    """Return *decisions* with what each version that goes frees.

    :param blobs: sizes by digest of all that each version leads to.
    :param held: digests that stay whatever becomes of versions.
    """
    staying = set(held)
    for one in decisions:
        if one.keep:
            staying.update(blobs.get(one.key, ()))
    counted: set[str] = set()
    found = []
    for one in reversed(decisions):
        mine: Mapping[str, int] = {} if one.keep else blobs.get(one.key, {})
        freed = {digest: size for digest, size in mine.items() if digest not in staying | counted}
        counted.update(freed)
        found.append(replace(one, bytes=sum(freed.values())))
    return tuple(reversed(found))
