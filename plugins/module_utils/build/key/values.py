# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw values of variables as canonical JSON, with secrets as keyed digests."""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from ...core import canonical
from .model import Secret, Unsafe


@dataclass(frozen=True, slots=True)
class Seal:
    """Makes keyed digests: equal secrets give equal words, and nobody without the key can guess."""

    key: bytes = field(repr=False)

    def __call__(self, value: object) -> str:
        """Return ``hmac-sha256:HEX`` of the canonical JSON of *value*."""
        return (
            "hmac-sha256:" + hmac.new(self.key, canonical.encode(value), hashlib.sha256).hexdigest()
        )


class NotPlain(TypeError):
    """The value is of a type that has no canonical form."""


def plain(value: object, seal: Seal | None) -> object:
    """Return *value* as JSON types; equal results mean equal values, types included.

    What JSON lacks (dates, bytes, keys that are no strings, NaN) becomes a mapping with one key
    that begins with ``!``; a mapping that has such a key of its own is told as pairs.

    :param seal: makes the words for ``Secret`` parts; None gives them in clear, for digests only.
    :raises NotPlain: for a type that has no canonical form.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if value - value == 0 else {"!float": repr(float(value))}
    if isinstance(value, Secret):
        inner = plain(value.value, None)
        return inner if seal is None else {"!secret": seal(inner)}
    if isinstance(value, Unsafe):
        return {"!unsafe": value.text}
    if isinstance(value, Mapping):
        pairs = [(plain(key, seal), plain(inner, seal)) for key, inner in value.items()]
        if all(isinstance(key, str) and not key.startswith("!") for key, inner in pairs):
            return {str(key): inner for key, inner in pairs}
        return {"!pairs": sorted(([key, inner] for key, inner in pairs), key=canonical.encode)}
    if isinstance(value, (list, tuple)):
        return [plain(inner, seal) for inner in value]
    if isinstance(value, AbstractSet):
        return {"!set": sorted((plain(inner, seal) for inner in value), key=canonical.encode)}
    if isinstance(value, (datetime.date, datetime.time)):
        return {"!time": value.isoformat()}
    if isinstance(value, bytes):
        return {"!bytes": value.hex()}
    raise NotPlain(type(value).__name__)


def texts(value: object) -> Iterator[tuple[str, bool]]:
    """Yield every text inside *value*, keys too, and whether Ansible may take it for a template."""
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            yield str(part), True
        elif isinstance(part, Unsafe):
            yield part.text, False
        elif isinstance(part, Secret):
            pending.append(part.value)
        elif isinstance(part, Mapping):
            pending.extend(part.keys())
            pending.extend(part.values())
        elif isinstance(part, (list, tuple, AbstractSet)):
            pending.extend(part)


def orders(value: object, seal: Seal) -> object:
    """Return the order of keys of every mapping inside *value*, as nested lists."""
    if isinstance(value, Secret):
        return seal(orders(value.value, seal))
    if isinstance(value, Mapping):
        return [[plain(key, None), orders(inner, seal)] for key, inner in value.items()]
    if isinstance(value, (list, tuple)):
        return [orders(inner, seal) for inner in value]
    return None


def has_order(value: object) -> bool:
    """Whether *value* holds a mapping of two keys or more."""
    if isinstance(value, Secret):
        return has_order(value.value)
    if isinstance(value, Mapping):
        return len(value) > 1 or any(has_order(inner) for inner in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_order(inner) for inner in value)
    return False
