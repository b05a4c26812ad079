# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the order of the keys of a mapping can be seen in what a role makes of it.

A mapping that is only ever asked for its members by name gives the same whichever way it is
written. One that is repeated over, or put out as a whole, does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .model import Secret
from .values import has_order

_STEP = r"(?:\.[A-Za-z_]\w*|\[\s*'[^'\\]*'\s*\]|\[\s*\"[^\"\\]*\"\s*\])"
_STEPS = re.compile(r"\.([A-Za-z_]\w*)|\[\s*['\"]([^'\"]*)['\"]\s*\]")
_BEFORE = re.compile(
    r"(?:\bfor\s+(?P<each>[A-Za-z_]\w*)\s+in\s+|(?P<loop>\b(?:loop|with_items|with_list)\s*:\s*"
    r"[\"']?\{\{\s*))$"
)
_EMPTY = r"(?:\s*\|\s*(?:default|d)\(\s*(?:\[\s*\])?\s*\))?"
_AFTER_EACH = re.compile(_EMPTY + r"\s*[-+]?(?:%\}|if\b|recursive\b)")
_AFTER_LOOP = re.compile(_EMPTY + r"\s*\}\}[\"']?[ \t]*(?:$|\n|#)")
_LOOP_VARIABLE = re.compile(r"\bloop_var\s*:\s*[\"']?([A-Za-z_]\w*)")
_KEY = re.compile(r"(?:^|\n)[ \t]*(?:-[ \t]+)?$")
_DEPTH = 3


def order_matters(name: str, value: object, texts: str, depth: int = _DEPTH) -> bool:
    """Whether *texts* use the variable *name* in a way that may show the order of its keys.

    :param texts: every text that could mention it, joined.
    """
    value = value.value if isinstance(value, Secret) else value
    if not has_order(value):
        return False
    mention = re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)({_STEP}*)")
    for found in mention.finditer(texts):
        before = texts[max(0, found.start() - 80) : found.start()]
        after = texts[found.end() : found.end() + 80]
        if not found[1] and _KEY.search(before) and after.lstrip(" \t").startswith(":"):
            continue
        reached, known = _reached(value, found[1])
        if not known:
            return True
        if not has_order(reached):
            continue
        if (
            depth == 0
            or not isinstance(reached, list)
            or not _each(reached, before, after, texts, depth)
        ):
            return True
    return False


def _reached(value: object, steps: str) -> tuple[object, bool]:
    for dotted, quoted in _STEPS.findall(steps):
        value = value.value if isinstance(value, Secret) else value
        key = dotted or quoted
        if not isinstance(value, Mapping) or key not in value:
            return None, False
        value = value[key]
    return value, True


def _each(members: list[object], before: str, after: str, texts: str, depth: int) -> bool:
    """Whether a list is only repeated over, its members asked by name."""
    found = _BEFORE.search(before)
    if found is None:
        return False
    if found["each"] is not None:
        if _AFTER_EACH.match(after) is None:
            return False
        names = {found["each"]}
    else:
        if _AFTER_LOOP.match(after) is None:
            return False
        names = {"item", *_LOOP_VARIABLE.findall(texts)}
    return not any(
        order_matters(name, member, texts, depth - 1) for name in names for member in members
    )
