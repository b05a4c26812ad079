# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Promoting and revoking: what the planners decide becomes a commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..core.errors import DriverError
from .channel import Channel, Move, channels_document
from .documents import render_time, write_document
from .promotion import PromotionPlan, plan_promotion
from .repository import Catalog
from .revocation import (
    RevocationPlan,
    descendants,
    moved_channels,
    plan_revocation,
    revocations_document,
)
from .transaction import Change
from .version import Version

Judge = Callable[[Version, str, Mapping[str, Any]], Sequence[str]]
"""Gives, for a version, a channel and the channel's policy, a sentence for each rule that fails."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion that was asked for; what is None is chosen, see plan_promotion."""

    image: str
    reason: str
    version: str | None = None
    channel: str | None = None
    expected: str | None = None


def nothing_fails(_version: Version, _channel: str, _policy: Mapping[str, Any]) -> Sequence[str]:
    """The judge of a catalog without policies."""
    return ()


def promote(
    catalog: Catalog, wanted: Promotion, *, judge: Judge = nothing_fails, look: bool = False
) -> PromotionPlan:
    """Let a channel point to a version; return what came of it.

    :param judge: evaluates the channel's policy.
    :param look: only say what would be done.

    Raises DriverError, with each rule in ``failures``, when the version may not be promoted.
    """
    if not wanted.reason.strip():
        raise DriverError("A promotion needs a reason.", hint="-e kiln_reason='...'")
    plans: list[PromotionPlan] = []

    def decide() -> Change | None:
        plan = _promotion_plan(catalog, wanted, judge)
        plans.append(plan)
        if plan.failures:
            raise DriverError(
                f"{plan.image} {plan.version} may not go to {plan.channel}:"
                f" {' '.join(plan.failures)}",
                details={"failures": list(plan.failures)},
            )
        return _promotion_change(catalog, plan, wanted.reason) if plan.changes else None

    if look:
        catalog.pull()
        decide()
    else:
        catalog.change(decide)
    return plans[-1]


def _promotion_plan(catalog: Catalog, wanted: Promotion, judge: Judge) -> PromotionPlan:
    image, settings, now = wanted.image, catalog.settings(), catalog.now()

    def struck(number: str) -> list[str]:
        version = catalog.version(image, number)
        found = catalog.revocation_of(version, now) if version is not None else None
        if found is None:
            return []
        one, entry = found
        which = "It" if (one.image, one.number) == (image, number) else f"{one.image} {one.number}"
        return [f"{which} is revoked ({entry.reason})."]

    def rules(number: str, channel: str) -> list[str]:
        version = catalog.version(image, number)
        if version is None:
            return []
        return [*struck(number), *judge(version, channel, settings.policy(channel))]

    return plan_promotion(
        image,
        numbers=catalog.numbers(image),
        channels=catalog.channels(image),
        settings=settings,
        usable=lambda number: not struck(number),
        rules=rules,
        version=wanted.version,
        channel=wanted.channel,
        expected=wanted.expected,
    )


def _promotion_change(catalog: Catalog, plan: PromotionPlan, reason: str) -> Change:
    channels, settings = catalog.channels(plan.image), catalog.settings()
    move = Move(plan.version, render_time(catalog.now()), catalog.who(), reason)
    before = channels.get(plan.channel, Channel(plan.channel, ()))
    channels[plan.channel] = before.moved(move)
    ordered = {name: channels[name] for name in settings.order if name in channels}
    files: dict[str, bytes | None] = {
        catalog.channels_path(plan.image): write_document(
            channels_document({**ordered, **channels})
        )
    }
    if not (catalog.root / catalog.SETTINGS).exists():
        files[catalog.SETTINGS] = write_document(settings.as_document())
    was = f" (was {plan.before})" if plan.before else ""
    return Change(files, f"{plan.image} {plan.version} to {plan.channel}{was}\n\n{reason}\n")


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A revocation that was asked for.

    :param at: when it begins to hold, None for at once.
    :param move_to: the version that channels of the image which point to it are to point to.
    :param move_back: such channels, of descendants too, go back to what they pointed to before.
    """

    image: str
    version: str
    reason: str
    at: datetime | None = None
    move_to: str | None = None
    move_back: bool = False


def revoke(catalog: Catalog, wanted: Withdrawal, *, look: bool = False) -> RevocationPlan:
    """Take a version back, and move the channels that point to it where that is asked for.

    :param look: only say what would be done.
    """
    if not wanted.reason.strip():
        raise DriverError("A revocation needs a reason.", hint="-e kiln_reason='...'")
    plans: list[RevocationPlan] = []

    def decide() -> Change | None:
        plan, change = _revocation(catalog, wanted)
        plans.append(plan)
        return change

    if look:
        catalog.pull()
        decide()
    else:
        catalog.change(decide)
    return plans[-1]


def _revocation(catalog: Catalog, wanted: Withdrawal) -> tuple[RevocationPlan, Change | None]:
    image, number, now = wanted.image, wanted.version, catalog.now()
    for which in filter(None, (number, wanted.move_to)):
        if catalog.version(image, which) is None and which not in catalog.tombstones(image):
            raise DriverError(f"The catalog has no version {which} of {image}.")
    heirs = _heirs(catalog, image, number)
    names = sorted({image, *(heir.image for heir in heirs)})
    channels = {name: catalog.channels(name) for name in names}
    revoked = {name: catalog.revoked(name) for name in names}
    plan = plan_revocation(
        image,
        number,
        reason=wanted.reason,
        at=wanted.at or now,
        by=catalog.who(),
        now=now,
        revoked=revoked,
        heirs=heirs,
        channels=channels,
        move_to={image: wanted.move_to} if wanted.move_to else None,
        move_back=wanted.move_back,
    )
    files: dict[str, bytes | None] = {}
    words = []
    if plan.revocation is not None:
        entries = {**revoked[image], number: plan.revocation}
        files[catalog.revoked_path(image)] = write_document(revocations_document(entries))
        later = f" from {plan.revocation.at}" if not plan.revocation.holds(now) else ""
        words.append(f"{image} {number} revoked{later}")
    for name, moved in moved_channels(plan, channels, by=catalog.who(), now=now).items():
        files[catalog.channels_path(name)] = write_document(channels_document(moved))
    words += [f"{one.image} {one.channel} moved to {one.target}" for one in plan.moves]
    if not files:
        return plan, None
    return plan, Change(files, f"{', '.join(words)}\n\n{wanted.reason}\n")


def _heirs(catalog: Catalog, image: str, number: str) -> tuple[Version, ...]:
    """Return what is built on a version, looking only into images that are built on images."""
    versions: dict[tuple[str, str], Version] = {}
    names, seen = [image], set[str]()
    while names:
        name = names.pop()
        if name in seen:
            continue
        seen.add(name)
        for version in catalog.built_on(name):
            versions[version.image, version.number] = version
            names.append(version.image)
    return descendants(image, number, versions.values())


def reinstate(
    catalog: Catalog, image: str, number: str, *, reason: str, look: bool = False
) -> bool:
    """Take a revocation back; tell whether there was one."""
    if not reason.strip():
        raise DriverError("Taking a revocation back needs a reason.", hint="-e kiln_reason='...'")
    there: list[bool] = []

    def decide() -> Change | None:
        revoked = catalog.revoked(image)
        there.append(number in revoked)
        if not there[-1]:
            return None
        left = {key: one for key, one in revoked.items() if key != number}
        content = write_document(revocations_document(left)) if left else None
        message = f"{image} {number} is not revoked any more\n\n{reason}\n"
        return Change({catalog.revoked_path(image): content}, message)

    if look:
        catalog.pull()
        decide()
    else:
        catalog.change(decide)
    return there[-1]
