# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reading the texts of a layer found, before any of it is looked for on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .expressions import Token
from .modules import Reads
from .tasks import Loop
from .tree import Entry

UNKNOWN = object()
"""Stands for a value that only a run gives (``register``)."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role whose tree was read."""

    label: str
    path: Path
    entries: dict[str, Entry]


@dataclass(frozen=True, slots=True)
class Source:
    """A text that is read: where it is, the role it belongs to, and whether it is secret."""

    path: Path
    role: Role
    text: str
    line: int = 0
    secret: bool = False
    template: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """Something named by an expression or a text: a file, a role or an environment variable.

    :param wants: ``file``, ``glob``, ``first`` (of several), ``role`` or ``environment``.
    :param value: the raw value that names it; or *words*, the expression that does.
    :param told: the option or lookup that names it, for messages.
    """

    wants: str
    told: str
    source: Source
    line: int
    value: object = None
    words: tuple[Token, ...] = ()
    folder: str = "files"
    reads: Reads = Reads.BYTES
    loop: Loop | None = None
    secret: bool = False


@dataclass(slots=True)
class Notes:
    """Grows while texts are read; everything in it only ever gets more.

    ``data`` are texts that are no templates, but may give a template the name of a variable.
    ``passed_on`` holds the words of values that tasks give to names: a loop's variable among
    them may reach another task.
    """

    words: set[str] = field(default_factory=set)
    secret_words: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    mentions: dict[str, tuple[Path, int]] = field(default_factory=dict)
    hazards: dict[tuple[Path, int, str], None] = field(default_factory=dict)
    definitions: dict[str, list[object]] = field(default_factory=dict)
    unread: list[Callable[[], None]] = field(default_factory=list)
    facts: set[str] = field(default_factory=set)
    loads_variables: bool = False
    passed_on: set[str] = field(default_factory=set)
    loops: dict[str, list[Loop]] = field(default_factory=dict)
    references: list[Reference] = field(default_factory=list)
    plugins: dict[str, tuple[Path, int]] = field(default_factory=dict)
    collections: set[str] = field(default_factory=set)
    delimiters: bool = False
    keeps_modes: bool = False

    def hazard(self, source: Source, line: int, reason: str) -> None:
        """Note that a line cannot be followed."""
        self.hazards[source.path, line, reason] = None

    def define(self, name: str, value: object) -> None:
        """Note a value that *name* may have."""
        known = self.definitions.setdefault(name, [])
        if not any(one is value for one in known):
            known.append(value)

    def values_of(self, name: str) -> list[object]:
        """Return every value that the texts give to *name*."""
        while self.unread:
            self.unread.pop()()
        return self.definitions.get(name, [])

    def size(self) -> tuple[int, ...]:
        """Return numbers that are equal when nothing was added in between."""
        return (
            len(self.words),
            len(self.secret_words),
            sum(map(len, self.definitions.values())),
            len(self.unread),
            len(self.references),
            sum(map(len, self.loops.values())),
            len(self.passed_on),
        )
