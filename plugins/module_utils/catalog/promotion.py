# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Promotion: which version a channel is to point to, and whether it may. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..core.errors import DriverError
from .channel import Channel, ChannelSettings
from .version import VersionNumber

Rules = Callable[[str, str], Sequence[str]]
"""Gives, for the number of a version and a channel, a sentence for each rule that fails."""


@dataclass(frozen=True, slots=True)
class PromotionPlan:
    """What a promotion comes to.

    :param before: what the channel points to now.
    :param failures: a sentence for each rule of the channel that the version fails.
    """

    image: str
    version: str
    channel: str
    before: str | None
    failures: tuple[str, ...]

    @property
    def changes(self) -> bool:
        """Whether the channel moves."""
        return self.version != self.before

    @property
    def is_step_back(self) -> bool:
        """Whether an older version takes the place of a newer one."""
        return self.before is not None and VersionNumber.parse(self.version) < VersionNumber.parse(
            self.before
        )


def plan_promotion(
    image: str,
    *,
    numbers: Sequence[VersionNumber],
    channels: Mapping[str, Channel],
    settings: ChannelSettings,
    usable: Callable[[str], bool],
    rules: Rules,
    version: str | None = None,
    channel: str | None = None,
    expected: str | None = None,
) -> PromotionPlan:
    """Decide what is promoted, where to, and whether it may be.

    Without a version it is the one of the channel before, or the newest for the first channel.
    Without a channel it is the one after the last that the version has reached.

    :param numbers: the versions that there are, sorted.
    :param usable: tells whether a version is not revoked, itself or by an ancestor.
    :param expected: what the channel must point to now.
    """
    if not numbers:
        raise DriverError(f"The catalog has no version of {image}.", hint="Bake it first.")
    if channel is not None:
        settings.check(channel)
    if version is None:
        version = _candidate(image, numbers, channels, settings, usable, channel)
    elif VersionNumber.parse(version) not in numbers:
        raise DriverError(
            f"The catalog has no version {version} of {image}; the newest is {numbers[-1]}."
        )
    if channel is None:
        channel = _next_channel(channels, settings, version)
    before = channels[channel].version if channel in channels else None
    if expected is not None and before != expected:
        raise DriverError(
            f"The channel {channel} of {image} points to {before or 'nothing'}, not to {expected}"
            " as was expected.",
            hint="See who moved it (kiln.immutable.status), and decide again.",
        )
    failures = tuple(rules(version, channel)) if before != version else ()
    return PromotionPlan(image, version, channel, before, failures)


def _candidate(
    image: str,
    numbers: Sequence[VersionNumber],
    channels: Mapping[str, Channel],
    settings: ChannelSettings,
    usable: Callable[[str], bool],
    channel: str | None,
) -> str:
    source = settings.before(channel) if channel is not None else None
    if source is not None:
        if source not in channels:
            raise DriverError(
                f"The channel {source} of {image}, which comes before {channel}, points to"
                " nothing yet.",
                hint=f"Promote to {source} first, or name a version (kiln_version).",
            )
        return channels[source].version
    for number in reversed(numbers):
        if usable(str(number)):
            return str(number)
    raise DriverError(f"Every version of {image} is revoked.", hint="Bake a new one.")


def _next_channel(channels: Mapping[str, Channel], settings: ChannelSettings, version: str) -> str:
    """The channel after the last in the order that has *version*; the last one stays the last."""
    reached = [n for n in settings.order if n in channels and channels[n].version == version]
    if not reached:
        return settings.order[0]
    return settings.after(reached[-1]) or reached[-1]
