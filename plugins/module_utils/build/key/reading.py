# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the texts of a role into notes: templates, variable files, tasks, metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ...core.errors import DriverError
from .builtin_names import CONDITIONS, PURE_LOOKUPS
from .documents import (
    Malformed,
    Node,
    ScalarNode,
    compose,
    is_unsafe,
    is_vault,
    items,
    line_of,
    pairs,
    raw_of,
    scalars,
)
from .expressions import Expression, Token, expressions, identifiers, is_template, tokens
from .mentions import PLACES, Hazard, Inclusion, Lookup, Plugin, findings
from .model import Reveal
from .modules import Reads
from .notes import UNKNOWN, Notes, Reference, Source
from .tasks import Loop

VAULT = "$ANSIBLE_VAULT;"
_OVERRIDES = re.compile(r"\A#jinja2:[^\n]*(?:_string|_prefix)")
#: Lookups that read files: where they look first, and what becomes of the file.
_FILE_LOOKUPS = {
    "file": ("files", Reads.BYTES),
    "unvault": ("files", Reads.BYTES),
    "template": ("templates", Reads.TEMPLATE),
    "filetree": ("files", Reads.BYTES),
    "ini": ("files", Reads.BYTES),
    "csvfile": ("files", Reads.BYTES),
}
#: Names that a template gives a value to by itself.
_LOCAL = re.compile(
    r"\{%[-+]?\s*(?:set\s+([^=%]*)|for\s+(.*?)\s+in\b|(?:macro|call)\b([^%]*)|with\s+([^%]*))",
    re.DOTALL,
)
_REARRANGING_LOOPS = PURE_LOOKUPS | {"loop"}


class Reader:
    """Reads texts into *notes*; decrypts with *reveal* where it is given."""

    def __init__(self, notes: Notes, reveal: Reveal | None) -> None:
        self.notes = notes
        self._reveal = reveal

    def opened(self, source: Source) -> Source:
        """Return *source* with its text decrypted when Ansible Vault encrypted it."""
        if not source.text.startswith(VAULT):
            return source
        text = self._decrypted(source.text, source, 1)
        return Source(source.path, source.role, text, source.line, True, source.template)

    def _decrypted(self, text: str, source: Source, line: int) -> str:
        if self._reveal is None:
            self.notes.hazard(source, line, "a vault text cannot be followed without its password")
            return ""
        try:
            return self._reveal(text)
        except DriverError as error:
            self.notes.hazard(source, line, f"a vault text cannot be opened: {error.message}")
            return ""

    def _note(self, text: str, secret: bool) -> None:
        found = identifiers(text)
        self.notes.words |= found
        if secret:
            self.notes.secret_words |= found

    def template(self, source: Source) -> None:
        """Read a text that is rendered as a whole."""
        text = source.text
        self._note(text, source.secret)
        self.notes.texts.append(text)
        if self.notes.delimiters or _OVERRIDES.match(text):
            whole = Expression(text, 0, len(text), True, tokens(text))
            self.expression(text, whole, source, at=None)
            return
        for found in expressions(text):
            self.expression(text, found, source, at=None)

    def value(self, text: str, source: Source) -> None:
        """Read a text of a variable's value."""
        self._note(text, source.secret)
        if is_template(text):
            self.notes.texts.append(text)
            for found in expressions(text):
                self.expression(text, found, source, at=source.line)
        else:
            self.notes.data.append(text)

    def words(self, source: Source) -> None:
        """Read a text of which only the words matter."""
        self._note(source.text, source.secret)
        self.notes.texts.append(source.text)

    def variables(self, source: Source) -> None:
        """Read a file of variables: defaults, vars, or one that include_vars names."""
        source = self.opened(source)
        text = source.text
        self.words(source)
        if is_template(text) or "!vault" in text or "\\" in text:
            self.variable_values(source)
        else:
            self.notes.unread.append(lambda: self.variable_values(source))

    def variable_values(self, source: Source) -> None:
        """Read what a mapping of variables holds."""
        for root in self.composed(source):
            if "\\" in source.text:
                self.words_of(root, secret=source.secret)
            self.scan(root, source)
            for name, node in pairs(root):
                self.notes.define(name, raw_of(node, UNKNOWN))

    def composed(self, source: Source) -> Sequence[Node]:
        """Return the roots of a YAML text; none, and a hazard, when it is none."""
        try:
            return compose(source.text)
        except Malformed as error:
            self.notes.hazard(source, error.line, f"this is not YAML: {error}")
            self.template(source)
            return []

    def scan(
        self,
        root: Node,
        source: Source,
        *,
        key: str = "",
        places: frozenset[str] = frozenset(),
        loop: Loop | None = None,
    ) -> None:
        """Read the expressions in every scalar below *root*.

        :param places: keys whose values name files, where paths of this machine may stand.
        """
        for under, node in scalars(root, key):
            text = node.value
            if is_vault(node):
                revealed = self._decrypted(text, source, line_of(node))
                self._note(revealed, True)
                self.notes.data.append(revealed)
                hidden = Source(source.path, source.role, revealed, line_of(node), True)
                self.value(revealed, hidden)
            elif is_unsafe(node):
                continue
            elif is_template(text):
                for found in expressions(text):
                    line = line_of(node, found.start)
                    self.expression(
                        text, found, source, at=line, allowed=under in places, loop=loop
                    )
            elif under in CONDITIONS:
                whole = Expression(text, 0, len(text), False, tokens(text))
                self.expression(text, whole, source, at=line_of(node), loop=loop)

    def expression(
        self,
        text: str,
        expression: Expression,
        source: Source,
        *,
        at: int | None,
        allowed: bool = False,
        loop: Loop | None = None,
    ) -> None:
        """Read one expression; *at* is its line, None when *text* is the whole file."""
        spans: list[tuple[int, int]] = []
        for found in findings(text, expression):
            line = at if at is not None else text.count("\n", 0, found.at) + 1
            if isinstance(found, Hazard):
                self.notes.hazard(source, line, found.reason)
            elif isinstance(found, Plugin):
                self.notes.plugins.setdefault(found.name, (source.path, line))
            elif at is None and isinstance(found, (Inclusion, Lookup)) and _local(found, text):
                told = (
                    "the template" if isinstance(found, Inclusion) else f"the lookup {found.name}"
                )
                self.notes.hazard(source, line, f"{told} is given a name of the template's own")
            elif isinstance(found, Inclusion):
                self._refer(
                    "file",
                    "the template",
                    source,
                    line,
                    found.words,
                    "templates",
                    Reads.TEMPLATE,
                    loop,
                )
            elif isinstance(found, Lookup):
                if found.name in _FILE_LOOKUPS or found.name in ("fileglob", "first_found"):
                    spans.extend((one[0].at, one[-1].at) for one in found.terms if one)
                self.lookup(found, source, line, loop)
            elif found.name not in PLACES:
                self.notes.mentions.setdefault(found.name, (source.path, line))
            elif not allowed and not any(low <= found.at <= high for low, high in spans):
                self.notes.hazard(
                    source, line, f"{found.name} is a place on this machine, used as a value"
                )

    def _refer(
        self,
        wants: str,
        told: str,
        source: Source,
        line: int,
        words: Iterable[Token],
        folder: str,
        reads: Reads,
        loop: Loop | None,
    ) -> None:
        self.notes.references.append(
            Reference(
                wants,
                told,
                source,
                line,
                words=tuple(words),
                folder=folder,
                reads=reads,
                loop=loop,
                secret=source.secret,
            )
        )

    def lookup(self, found: Lookup, source: Source, line: int, loop: Loop | None) -> None:
        """Note what a call of a lookup plugin reads."""
        name = found.name
        told = f"the lookup {name}"
        if name in ("ini", "csvfile"):
            files = [words for option, words in found.options if option == "file"]
            if not files:
                self.notes.hazard(source, line, f"{told} names no file with its option file")
            for words in files:
                self._refer("file", told, source, line, words, "files", Reads.BYTES, loop)
        elif name in _FILE_LOOKUPS:
            folder, reads = _FILE_LOOKUPS[name]
            if name == "template" and any("string" in option for option, words in found.options):
                self.notes.delimiters = True
            for words in found.terms:
                self._refer("file", told, source, line, words, folder, reads, loop)
        elif name in ("fileglob", "first_found", "env"):
            wants = {"fileglob": "glob", "first_found": "first", "env": "environment"}[name]
            if name == "first_found" and found.options:
                self.notes.hazard(source, line, f"{told} is given its files by options")
            for words in found.terms:
                self._refer(wants, told, source, line, words, "files", Reads.BYTES, loop)
        elif name == "vars":
            for words in found.terms:
                if len(words) != 1 or words[0].literal is None:
                    self.notes.hazard(source, line, f"{told} is given a computed name")
        elif name not in PURE_LOOKUPS:
            if "." in name:
                self.notes.plugins.setdefault(name, (source.path, line))
            self.notes.hazard(source, line, f"{told} reads what cannot be followed")

    def repeated(self, loop: Loop, source: Source, line: int, secret: bool) -> None:
        """Note what a task repeats over."""
        known = self.notes.loops.setdefault(loop.variable, [])
        known.append(loop)
        told = f"with_{loop.kind}"
        wants = {"fileglob": "glob", "first_found": "first", "env": "environment"}.get(loop.kind)
        folder, reads = _FILE_LOOKUPS.get(loop.kind, ("files", Reads.BYTES))
        if loop.kind in _REARRANGING_LOOPS:
            return
        if wants is None and (loop.kind not in _FILE_LOOKUPS or loop.kind in ("ini", "csvfile")):
            self.notes.hazard(source, line, f"{told} reads what cannot be followed")
            return
        raw = loop.items if isinstance(loop.items, list) and wants != "first" else [loop.items]
        for value in raw:
            self.notes.references.append(
                Reference(
                    wants or "file",
                    told,
                    source,
                    line,
                    value,
                    folder=folder,
                    reads=reads,
                    secret=secret,
                )
            )

    def meta(self, source: Source) -> None:
        """Read meta/main.yml: dependencies become references to roles."""
        self.words(source)
        nothing = compose("[]")[0]
        for root in self.composed(source):
            entries = dict(pairs(root))
            self.notes.collections |= {
                str(node.value) for node in items(entries.get("collections", nothing))
            }
            dependencies = entries.get("dependencies", nothing)
            self.scan(dependencies, source)
            for node in items(dependencies):
                options = dict(pairs(node))
                named = options.get("role", options.get("name", node))
                if isinstance(named, ScalarNode):
                    self.notes.references.append(
                        Reference("role", "the dependency", source, line_of(named), named.value)
                    )
                for name, value in options.items():
                    self.notes.define(name, raw_of(value, UNKNOWN))
                if "vars" in options:
                    for name, value in pairs(options["vars"]):
                        self.notes.define(name, raw_of(value, UNKNOWN))

    def words_of(self, root: Node, *, secret: bool) -> None:
        """Note the words of every scalar below *root*, escapes resolved."""
        text = "\n".join(node.value for key, node in scalars(root))
        self._note(text, secret)
        self.notes.data.append(text)


def _local(found: Inclusion | Lookup, text: str) -> bool:
    """Whether what is included or looked up is told by a name of the template's own."""
    if isinstance(found, Inclusion):
        parts = [found.words]
    else:
        parts = [*found.terms, *(words for option, words in found.options)]
    used = {word.text for words in parts for word in words if word.kind == "name"}
    given = (" ".join(filter(None, groups)) for groups in _LOCAL.findall(text) if used)
    return not used.isdisjoint(identifiers(" ".join(given)))
