# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading Jinja as text: where expressions are, and the words they are made of.

Nothing is rendered and no template engine is asked. Where an expression begins and ends follows
Jinja's lexer: comments and raw blocks are passed over, brackets and strings are balanced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Token(NamedTuple):
    """One word of an expression; *kind* is ``string``, ``name``, ``number`` or ``sign``."""

    kind: str
    text: str
    at: int

    @property
    def literal(self) -> str | None:
        """The text of a string without escapes; None for everything else."""
        if self.kind != "string" or "\\" in self.text:
            return None
        return self.text[1:-1]


class Expression(NamedTuple):
    """The inside of ``{{ }}`` or ``{% %}`` in *text*, from *start* to *end* with its braces."""

    text: str
    start: int
    end: int
    block: bool
    words: tuple[Token, ...] | None = None

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The words between the braces."""
        if self.words is not None:
            return self.words
        return tokens(self.text, self.start + 2, self.end - 2)


_TOKEN = re.compile(
    r"(?P<string>'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\")"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<number>\d+(?:\.\d+)?\w*)|(?P<sign>[^\s\w])",
    re.DOTALL,
)
_OPEN = re.compile(r"\{[{%#]")
_RAW = re.compile(r"\{%[-+]?\s*raw\s*-?%\}")
_END_RAW = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_SIMPLE = re.compile(
    r"\{\{(?:[^{}'\"]|'[^'{}\\]*'|\"[^\"{}\\]*\")*\}\}"
    r"|\{%(?:[^{}%'\"]|'[^'{}%\\]*'|\"[^\"{}%\\]*\")*%\}"
)
_NESTING = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def tokens(text: str, start: int = 0, end: int | None = None) -> tuple[Token, ...]:
    """Return the words of the expression *text*."""
    return tuple(
        Token(found.lastgroup or "sign", found.group(), found.start())
        for found in _TOKEN.finditer(text, start, len(text) if end is None else end)
    )


def is_template(text: str) -> bool:
    """Whether *text* holds an expression."""
    return "{{" in text or "{%" in text


def expressions(text: str) -> Iterator[Expression]:
    """Yield the expressions in *text*, in order; one that never ends reaches to the end."""
    at = 0
    while (opening := _OPEN.search(text, at)) is not None:
        at = opening.start()
        if text[at + 1] == "#":
            at = text.find("#}", at + 2) + 2
            if at == 1:
                return
            continue
        block = text[at + 1] == "%"
        if block and (raw := _RAW.match(text, at)) is not None:
            ending = _END_RAW.search(text, raw.end())
            if ending is None:
                return
            at = ending.end()
            continue
        simple = _SIMPLE.match(text, at)
        if simple is not None:
            end = simple.end()
            yield Expression(text, at, end, block)
            at = end
            continue
        closing = "%}" if block else "}}"
        words: list[Token] = []
        depth = 0
        end = at + 2
        while (found := _TOKEN.search(text, end)) is not None:
            if depth <= 0 and text.startswith(closing, found.start()):
                end = found.start() + 2
                break
            word = Token(found.lastgroup or "sign", found.group(), found.start())
            depth += _NESTING.get(word.text, 0)
            words.append(word)
            end = found.end()
        else:
            end = len(text)
        yield Expression(text, at, end, block, tuple(words))
        at = end


def closing(words: tuple[Token, ...], opening: int) -> int:
    """Return the index of the bracket that closes the one at *opening*, or the end."""
    depth = 0
    for index in range(opening, len(words)):
        if words[index].kind == "sign":
            depth += _NESTING.get(words[index].text, 0)
            if depth == 0:
                return index
    return len(words)


def split(words: tuple[Token, ...], sign: str) -> list[tuple[Token, ...]]:
    """Split *words* at every *sign* (a sign or a keyword) that is in no bracket."""
    parts: list[tuple[Token, ...]] = []
    depth = 0
    begin = 0
    for index, word in enumerate(words):
        if depth == 0 and word.text == sign and word.kind != "string":
            parts.append(words[begin:index])
            begin = index + 1
        elif word.kind == "sign":
            depth += _NESTING.get(word.text, 0)
    parts.append(words[begin:])
    return parts


def identifiers(text: str) -> set[str]:
    """Return every word of *text* that could be the name of a variable."""
    return set(IDENTIFIER.findall(text))
