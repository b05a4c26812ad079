# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which members of a mapping a role asks for, where it never asks for the mapping as a whole.

What the driver tells roles of their image is one mapping. A role that asks for the image's kind
only makes the same of two images that differ in their names, and its layer is the same too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_EMPTY = r"\s*\|\s*(?:default|d)\(\s*\{\s*\}\s*\)\s*"
_STEP = r"(?:\.\s*([A-Za-z_]\w*)|\[\s*(?:'([^'\\]*)'|\"([^\"\\]*)\")\s*\])"
_AFTER = re.compile(rf"\s*{_STEP}")
_AFTER_BRACKET = re.compile(rf"{_EMPTY}\)\s*{_STEP}")
_DEFINED = re.compile(r"\s+is\s+(?:not\s+)?defined\b")


def asked_members(name: str, value: object, texts: Collection[str]) -> object:
    """Return what of *value* the *texts* ask for: a mapping with those members, or all of it.

    :param name: of the variable.
    :param texts: every text that could mention it, templates and data alike. One way of asking
        that is not understood, be it in a comment, makes it all.
    """
    if not isinstance(value, Mapping):
        return value
    mention = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    asked: set[str] = set()
    for text in texts:
        if name not in text:
            continue
        for found in mention.finditer(text):
            member = _member(text, found.start(), found.end())
            if member is None or (member and member not in value):
                return value
            asked.add(member)
    return {key: inner for key, inner in value.items() if key in asked}


def _member(text: str, start: int, end: int) -> str | None:
    """Return the member that one mention asks for, ``""`` for none of them, None for unclear."""
    if start and text[start - 1] in ".'\"[":
        return None
    if _DEFINED.match(text, end):
        return ""
    step = _AFTER.match(text, end)
    if step is None and _in_bracket(text[:start]):
        step = _AFTER_BRACKET.match(text, end)
    if step is None:
        return None
    # A call is of the mapping's own methods, which may tell of all of it.
    called = text[step.end() :].lstrip()[:1] == "("
    return None if called else next(one for one in step.groups() if one is not None)


def _in_bracket(before: str) -> bool:
    """Whether a bracket that is no call's opens at the end of *before*."""
    before = before.rstrip()
    if not before.endswith("("):
        return False
    last = before[:-1].rstrip()[-1:]
    return not (last.isalnum() or last in "_)]'\"")
