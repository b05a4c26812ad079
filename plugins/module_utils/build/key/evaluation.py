# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which values an expression may have, where that can be told without rendering it.

Used for paths and names only. The answer is a superset: every value that any definition of a
name could give. None means that it cannot be told.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from .expressions import Token, closing, expressions, is_template, split
from .mentions import short
from .model import Secret, Unsafe

#: More values than this for one path are not followed.
BOUND = 256
_DEPTH = 12


class Possible(NamedTuple):
    """A value that an expression may have, and whether a secret had a part in it."""

    value: object
    secret: bool = False


Values = list[Possible] | None
Names = Callable[[str], Values]
"""Gives the raw values that a name may have; None when that cannot be told."""


class Files(Protocol):
    """Gives what a call of a lookup may answer; None when that cannot be told."""

    def __call__(
        self, name: str, terms: tuple[tuple[Token, ...], ...], *, listed: bool
    ) -> Values: ...


def texts(values: Values) -> list[tuple[str, bool]] | None:
    """Return *values* as texts; None when one of them is a list or a mapping."""
    if values is None:
        return None
    result: list[tuple[str, bool]] = []
    for value, secret in values:
        if isinstance(value, (list, Mapping)):
            return None
        if value is not None:
            result.append((str(value), secret))
    return list(dict.fromkeys(result))


class Evaluator:
    """Follows names through their definitions."""

    def __init__(self, names: Names, files: Files) -> None:
        self._names = names
        self._files = files

    def values(self, raw: object, depth: int = _DEPTH) -> Values:
        """Return what the raw value *raw* may become once it is rendered."""
        if isinstance(raw, Secret):
            inner = self.values(raw.value, depth)
            return None if inner is None else [Possible(one.value, True) for one in inner]
        if isinstance(raw, Unsafe):
            return [Possible(raw.text)]
        if not isinstance(raw, str) or not is_template(raw):
            return [Possible(raw)]
        if depth == 0:
            return None
        found = list(expressions(raw))
        if any(one.block for one in found):
            return None
        if len(found) == 1 and found[0].start == 0 and found[0].end == len(raw.rstrip()):
            return self.expression(found[0].tokens, depth - 1)
        parts: list[Values] = []
        at = 0
        for one in found:
            parts.append([Possible(raw[at : one.start])])
            parts.append(self.expression(one.tokens, depth - 1))
            at = one.end
        parts.append([Possible(raw[at:])])
        return _joined(parts)

    def expression(self, words: tuple[Token, ...], depth: int = _DEPTH) -> Values:
        """Return the values that the expression *words* may have."""
        if depth == 0 or not words:
            return None
        if words[0].text in "-+":
            words = words[1:]
        if words and words[-1].text in "-+":
            words = words[:-1]
        chosen = split(words, "if")
        if len(chosen) == 2:
            otherwise = split(chosen[1], "else")[1:]
            return _union([self.expression(one, depth - 1) for one in (chosen[0], *otherwise)])
        for sign in ("~", "+"):
            parts = split(words, sign)
            if len(parts) > 1:
                each = [self.expression(part, depth - 1) for part in parts]
                return _joined(each) if sign == "~" else _added(each)
        piped = split(words, "|")
        values = self._primary(piped[0], depth - 1)
        for part in piped[1:]:
            values = self._filtered(values, part, depth - 1)
            if values is None:
                return None
        return values

    def _primary(self, words: tuple[Token, ...], depth: int) -> Values:
        if not words or depth <= 0:
            return None
        first = words[0]
        if len(words) == 1 and first.kind == "string":
            return None if first.literal is None else [Possible(first.literal)]
        if len(words) == 1 and first.kind == "number":
            return [Possible(int(first.text))] if first.text.isdigit() else None
        if first.text in "([" and closing(words, 0) == len(words) - 1:
            inner = words[1:-1]
            if first.text == "(":
                return self.expression(inner, depth)
            return self._list(inner, depth)
        if first.kind != "name":
            return None
        if first.text in ("lookup", "query", "q") and len(words) > 1 and words[1].text == "(":
            if closing(words, 1) != len(words) - 1:
                return None
            arguments = split(words[2:-1], ",")
            name = arguments[0][0].literal if len(arguments[0]) == 1 else None
            if name is None:
                return None
            terms = [one for one in arguments[1:] if len(one) < 2 or one[1].text != "="]
            listed = first.text != "lookup" or len(terms) < len(arguments) - 1
            return self._files(short(name), tuple(terms), listed=listed)
        return self._path(words, depth)

    def _list(self, inner: tuple[Token, ...], depth: int) -> Values:
        members: list[object] = []
        secret = False
        for part in split(inner, ","):
            if not part:
                continue
            values = self.expression(part, depth)
            if values is None or len(values) != 1:
                return None
            members.append(values[0].value)
            secret = secret or values[0].secret
        return [Possible(members, secret)]

    def _path(self, words: tuple[Token, ...], depth: int) -> Values:
        values = self._names(words[0].text)
        values = self._rendered(values, depth)
        index = 1
        while values is not None and index < len(words):
            key: object
            if words[index].text == "." and index + 1 < len(words):
                text = words[index + 1].text
                key = int(text) if text.isdigit() else text
                index += 2
            elif words[index].text == "[" and index + 2 < len(words):
                if words[index + 2].text != "]":
                    return None
                word = words[index + 1]
                key = int(word.text) if word.text.isdigit() else word.literal
                index += 3
            else:
                return None
            values = self._rendered(_member(values, key), depth)
        return values

    def _rendered(self, values: Values, depth: int) -> Values:
        if values is None:
            return None
        return _union(
            [
                None
                if (inner := self.values(one.value, depth - 1)) is None
                else [Possible(each.value, each.secret or one.secret) for each in inner]
                for one in values
            ]
        )

    def _filtered(self, values: Values, words: tuple[Token, ...], depth: int) -> Values:
        if values is None or not words:
            return None
        name = short("".join(word.text for word in itertools.takewhile(_not_bracket, words)))
        opening = next((i for i, word in enumerate(words) if word.text == "("), None)
        inner = words[opening + 1 : -1] if opening is not None else ()
        if name in ("default", "d"):
            arguments = split(inner, ",")
            return _union([values, self.expression(arguments[0], depth)]) if inner else values
        if inner:
            return None
        change = _CHANGES.get(name)
        if change is None:
            return None
        result: list[Possible] = []
        for value, secret in values:
            changed = change(value)
            if changed is None:
                return None
            result.append(Possible(changed, secret))
        return result


def _not_bracket(word: Token) -> bool:
    return word.text != "("


def _union(many: Sequence[Values]) -> Values:
    result: list[Possible] = []
    for values in many:
        if values is None:
            return None
        result.extend(one for one in values if one not in result)
        if len(result) > BOUND:
            return None
    return result


def _joined(parts: Sequence[Values]) -> Values:
    known: list[list[tuple[str, bool]]] = []
    size = 1
    for part in parts:
        each = texts(part)
        if each is None:
            return None
        known.append(each)
        size *= len(each)
        if size > BOUND:
            return None
    return [
        Possible("".join(text for text, secret in chosen), any(secret for text, secret in chosen))
        for chosen in itertools.product(*known)
    ]


def _added(parts: Sequence[Values]) -> Values:
    if any(part is None or len(part) != 1 for part in parts):
        return _joined(parts) if all(texts(part) for part in parts) else None
    values = [part[0] for part in parts if part]
    if all(isinstance(one.value, list) for one in values):
        # The line above says that each is a list, which mypy cannot follow.
        members = [member for one in values for member in (one.value or [])]  # type: ignore[attr-defined]
        return [Possible(members, any(one.secret for one in values))]
    if all(isinstance(one.value, str) for one in values):
        return _joined(parts)
    return None


def _member(values: list[Possible], key: object) -> Values:
    result: list[Possible] = []
    for value, secret in values:
        listed = isinstance(value, list) and isinstance(key, int) and key < len(value)
        if listed or (isinstance(value, Mapping) and key in value):
            # The line above says that it has the key, which mypy cannot follow.
            result.append(Possible(value[key], secret))  # type: ignore[index]
        elif not isinstance(value, Mapping):
            return None
    return result


def _pairs(value: object) -> object | None:
    if not isinstance(value, Mapping):
        return None
    return [{"key": key, "value": inner} for key, inner in value.items()]


def _text(change: Callable[[str], str]) -> Callable[[object], object | None]:
    return lambda value: change(value) if isinstance(value, str) else None


_CHANGES: dict[str, Callable[[object], object | None]] = {
    "string": lambda value: None if isinstance(value, (list, Mapping)) else str(value),
    "trim": _text(str.strip),
    "lower": _text(str.lower),
    "upper": _text(str.upper),
    "basename": _text(lambda value: value.rpartition("/")[2]),
    "mandatory": lambda value: value,
    "list": lambda value: value if isinstance(value, list) else None,
    "unique": lambda value: value if isinstance(value, list) else None,
    "sort": lambda value: value if isinstance(value, list) else None,
    "dict2items": _pairs,
}
