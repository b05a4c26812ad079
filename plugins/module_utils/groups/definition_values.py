# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that a group's definition has in many places: durations, counts, shares, sizes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ..core.yaml_fields import Field, Section
from ..core.yaml_source import TAG, construct
from .policy import Amount

_NANOSECONDS = 1_000_000_000
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_DAY = 86_400.0


def seconds(section: Section, key: str, default: float, least: float = 0.0) -> float:
    """Return the duration of *key* in seconds, *default* without one."""
    field = section.get(key)
    value = duration(field, least) if field is not None else None
    return default if value is None else value


def duration(field: Field, least: float = 0.0) -> float | None:
    """Return the duration that *field* says, in seconds; ``30d`` is understood too."""
    if field.is_text and (days := re.fullmatch(r"([0-9]+)d", field.node.value)):
        return int(days.group(1)) * _DAY
    found = field.duration(int(least * _NANOSECONDS))
    return None if found is None else found / _NANOSECONDS


def whole(section: Section, key: str, default: int, least: int = 0, most: int = 0) -> int:
    """Return the whole number of *key*, *default* without one.

    :param most: what it may be at the most; 0 is without a limit.
    """
    field = section.get(key)
    value = field.count(least) if field is not None else None
    if field is not None and value is not None and most and value > most:
        field.complain(f"is {value}; it must be at most {most}")
    return default if value is None else value


def decimal(section: Section, key: str) -> float | None:
    """Return the number of *key*, with or without a part behind the point; None without one."""
    field = section.get(key)
    if field is None:
        return None
    if field.node.tag in (TAG + "int", TAG + "float"):
        value = construct(field.node)
        if isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    field.complain("must be a number")
    return None


def truth(section: Section, key: str, default: bool) -> bool:
    """Return true or false of *key*."""
    field = section.get(key)
    return field.truth() if field is not None else default


def text(section: Section, key: str, pattern: str = "(?s:.+)", wants: str = "text") -> str:
    """Return the text of *key*, empty without one."""
    field = section.get(key)
    return (field.match(pattern, wants) if field is not None else None) or ""


def choice(section: Section, key: str, allowed: Sequence[str], default: str | None = None) -> str:
    """Return which of *allowed* the key *key* names; the first, or *default*, without one."""
    field = section.get(key)
    found = field.choice(allowed) if field is not None else None
    return found or (allowed[0] if default is None else default)


def command(section: Section, key: str = "command") -> tuple[str, ...]:
    """Return the command of *key* as a list, empty without one."""
    field = section.get(key)
    return field.argv() if field is not None else ()


def amount(section: Section, key: str) -> Amount | None:
    """Return the count or the percentage of *key*, None without one."""
    field = section.get(key)
    if field is None:
        return None
    if field.is_whole_number:
        number = field.count(0)
        return None if number is None else Amount(number)
    value = field.match(r"[0-9]{1,3}%", "it must be a count, or a percentage such as 25%", "text")
    if value is None:
        return None
    if int(value[:-1]) > 100:
        field.complain(f"is {value}; it must be at most 100%")
    return Amount(int(value[:-1]), percent=True)


def size_in_bytes(section: Section, key: str) -> int | None:
    """Return the size of *key*, such as ``512m``, in bytes; None without one."""
    field = section.get(key)
    if field is None:
        return None
    if field.is_whole_number:
        return field.count(1)
    value = field.match(r"[0-9]+[kmgKMG]?", "it must be a size such as 512m or 2g", "text")
    found = re.fullmatch(r"([0-9]+)([kmg]?)", (value or "").lower())
    return int(found.group(1)) * _UNITS[found.group(2)] if found else None
