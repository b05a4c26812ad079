# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels: which there are, what each points to, and what it pointed to before."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..core.errors import DriverError

DEFAULT_ORDER = ("dev", "staging", "prod")
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*")
_KEPT_MOVES = 100
"""Moves that the file of an image's channels keeps; Git has them all."""


@dataclass(frozen=True, slots=True)
class Move:
    """A channel was made to point to a version.

    :param at: RFC 3339, UTC.
    :param by: name and address of who did it.
    """

    version: str
    at: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of one image: its moves, the newest first."""

    name: str
    moves: tuple[Move, ...]

    @property
    def version(self) -> str:
        """The number that it points to."""
        return self.moves[0].version

    @property
    def history(self) -> tuple[str, ...]:
        """The different versions that it pointed to, the present one first."""
        return tuple(dict.fromkeys(move.version for move in self.moves))

    def moved(self, move: Move) -> Channel:
        """The channel after *move*."""
        return Channel(self.name, (move, *self.moves)[:_KEPT_MOVES])


def channels_document(channels: Mapping[str, Channel]) -> dict[str, Any]:
    """Return the channels of an image as the mapping of their file."""
    return {
        "channels": {
            name: {
                "version": channel.version,
                "moves": [asdict(move) for move in channel.moves],
            }
            for name, channel in channels.items()
        }
    }


def read_channels(document: Mapping[str, Any], where: str) -> dict[str, Channel]:
    """The inverse of channels_document; DriverError names the file when it is malformed."""
    found = {}
    try:
        for name, value in document["channels"].items():
            moves = tuple(Move(**{k: str(v) for k, v in one.items()}) for one in value["moves"])
            if not moves or moves[0].version != str(value["version"]):
                raise DriverError(
                    f"{where}: the channel {name} points to {value['version']}, and its newest move"
                    " does not say so.",
                    hint="Move channels with kiln.immutable.promote, which keeps their history.",
                )
            found[str(name)] = Channel(str(name), moves)
    except (LookupError, TypeError, AttributeError) as error:
        raise DriverError(f"{where} is no file of channels: {error!r}.") from error
    return found


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """What the catalog's ``channels.yml`` says: the order of promotion, and each one's policy.

    :param policies: by the channel's name, what a version must fulfil; see docs/catalog.md.
    """

    order: tuple[str, ...] = DEFAULT_ORDER
    policies: Mapping[str, Mapping[str, Any]] | None = None

    def policy(self, channel: str) -> Mapping[str, Any]:
        """The policy of *channel*, empty when it has none."""
        return (self.policies or {}).get(channel, {})

    def check(self, channel: str) -> str:
        """Return *channel*; DriverError when there is no such."""
        if channel not in self.order:
            raise DriverError(
                f"There is no channel {channel}; there are {', '.join(self.order)}.",
                hint="channels.yml in the catalog lists them.",
            )
        return channel

    def after(self, channel: str) -> str | None:
        """The channel that follows *channel*, None for the last."""
        place = self.order.index(self.check(channel)) + 1
        return self.order[place] if place < len(self.order) else None

    def before(self, channel: str) -> str | None:
        """The channel that *channel* follows, None for the first."""
        place = self.order.index(self.check(channel))
        return self.order[place - 1] if place else None

    def as_document(self) -> dict[str, Any]:
        """The settings as the mapping of their file."""
        return {"channels": [{"name": name, **self._policy_of(name)} for name in self.order]}

    def _policy_of(self, name: str) -> dict[str, Any]:
        policy = self.policy(name)
        return {"policy": dict(policy)} if policy else {}

    @classmethod
    def from_document(cls, document: Mapping[str, Any], where: str) -> ChannelSettings:
        """The inverse of as_document; DriverError names the file when it is malformed."""
        entries = document.get("channels")
        if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
            raise DriverError(f"{where} has no list of channels.", hint=_EXAMPLE)
        order: list[str] = []
        policies: dict[str, Mapping[str, Any]] = {}
        for entry in entries:
            one = {"name": entry} if isinstance(entry, str) else entry
            name = one.get("name") if isinstance(one, Mapping) else None
            if not isinstance(name, str) or _NAME.fullmatch(name) is None or name == "latest":
                raise DriverError(f"{where}: {entry!r} is no channel.", hint=_EXAMPLE)
            unknown = sorted(one.keys() - {"name", "policy"})
            if name in order or unknown:
                wrong = f"has the unknown {unknown[0]}" if unknown else "is there twice"
                raise DriverError(f"{where}: the channel {name} {wrong}.", hint=_EXAMPLE)
            policy = one.get("policy") or {}
            if not isinstance(policy, Mapping):
                raise DriverError(f"{where}: the policy of {name} is no mapping.")
            order.append(name)
            if policy:
                policies[name] = policy
        return cls(tuple(order), policies or None)


_EXAMPLE = "Write it such as channels: [{name: dev}, {name: prod}]."
