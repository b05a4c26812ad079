# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading typed values from a definition's nodes; each complaint names line and key path."""

from __future__ import annotations

import difflib
import posixpath
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from .yaml_source import (
    NO_VARS,
    TAG,
    UNSAFE_TAG,
    NoValueError,
    Problems,
    construct,
    is_mapping,
    is_scalar,
    is_sequence,
    line_of,
    serialise,
    shape_of,
)

if TYPE_CHECKING:
    from yaml.nodes import Node, ScalarNode

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DURATION = re.compile(r"([0-9]+(\.[0-9]+)?(h|ms|m|s))+")
_DURATION_PART = re.compile(r"([0-9.]+)(h|ms|m|s)")
_NANOSECONDS = {"h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000, "ms": 1_000_000}
_KINDS = {"int": "number", "float": "number", "bool": "boolean", "timestamp": "date"}
_ESCAPE = "templates are rendered in vars only; for literal braces write !unsafe before the text"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the one of *known* that *word* was probably meant to be, or an empty string."""
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return close[0] if close else ""


def alternatives(words: Sequence[str]) -> str:
    """Return *words* as a phrase: ``a, b or c``."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


class Field:
    """One node of a definition, with the key path and the line that messages name."""

    __slots__ = ("line", "node", "path", "problems")

    def __init__(self, node: Node, path: str, line: int, problems: Problems) -> None:
        self.node = node
        self.path = path
        self.line = line
        self.problems = problems

    def complain(self, says: str) -> None:
        """Note a problem: the key path, then *says*, which needs no full stop."""
        self.problems.add(self.line, f"{self.path} {says}.")

    @property
    def empty(self) -> bool:
        """Whether the key was written without a value."""
        return self.node.tag == TAG + "null"

    @property
    def is_text(self) -> bool:
        """Whether YAML reads the value as text."""
        return is_scalar(self.node) and self.node.tag in (TAG + "str", UNSAFE_TAG)

    @property
    def is_list(self) -> bool:
        """Whether the value is a list."""
        return is_sequence(self.node)

    @property
    def is_whole_number(self) -> bool:
        """Whether YAML reads the value as a whole number and it is written with digits alone."""
        return self.node.tag == TAG + "int" and bool(re.fullmatch(r"[0-9]+", self.node.value))

    @property
    def is_truth(self) -> bool:
        """Whether YAML reads the value as true or false."""
        return self.node.tag == TAG + "bool"

    def truth(self) -> bool:
        """Return the value when it is true or false; complain, and return true, if not."""
        if self.is_truth:
            return bool(construct(self.node))
        self.complain("must be true or false")
        return True

    def text(self, wants: str = "text", pattern: str = ".+") -> str | None:
        """Return the value when it is text that is not empty; complain if not.

        :param wants: what it must be, in words.
        :param pattern: what the text must match for "put it into quotes" to be the remedy.
        """
        node = self.node
        if self.empty:
            self.complain(f"is empty; give {wants}, or leave the key out")
        elif not is_scalar(node):
            self.complain(f"is {shape_of(node)}; it must be {wants}")
        elif not self.is_text:
            self._complain_of_type(node, wants, pattern)
        elif not node.value:
            self.complain(f"is empty; give {wants}, or leave the key out")
        elif node.tag != UNSAFE_TAG and ("{{" in node.value or "{%" in node.value):
            self.complain(f"holds a template; {_ESCAPE}")
        else:
            return str(node.value)
        return None

    def _complain_of_type(self, node: ScalarNode, wants: str, pattern: str) -> None:
        kind = _KINDS.get(node.tag.removeprefix(TAG))
        if kind is None:
            self.complain(f"has the tag {node.tag}, which has no place here; it must be {wants}")
            return
        try:
            read = str(construct(node)).lower()
        except NoValueError as error:
            self.complain(str(error))
            return
        what = f"the {kind} {read}"
        seen = f"is {what}"
        if read != node.value:
            seen = f"is written {node.value}, which YAML reads as {what}"
        if re.fullmatch(pattern, node.value):
            self.complain(f'{seen}; write it with quotes, "{node.value}"')
        else:
            self.complain(f"{seen}; it must be {wants}")

    def match(self, pattern: str, expectation: str, wants: str = "text") -> str | None:
        """Return the text when all of it matches *pattern*; complain with *expectation* if not."""
        value = self.text(wants, pattern)
        if value is not None and re.fullmatch(pattern, value) is None:
            self.complain(f"is {value}; {expectation}")
            return None
        return value

    def choice(self, allowed: Sequence[str]) -> str | None:
        """Return the text when it is one of *allowed*."""
        value = self.text(alternatives(allowed), "|".join(allowed))
        if value is None or value in allowed:
            return value
        meant = nearest(value, allowed)
        self.complain(
            f"is {value}; it must be {alternatives(allowed)}"
            + (f" (did you mean {meant}?)" if meant else "")
        )
        return None

    def absolute_path(self) -> str | None:
        """Return the text when it is an absolute path in its shortest form."""
        value = self.text("an absolute path", "/.*")
        if value is None:
            return None
        if not value.startswith("/"):
            self.complain(f"is {value}; it must be an absolute path, such as /{value.lstrip('./')}")
            return None
        shortest = "/" + posixpath.normpath(value).lstrip("/")
        if shortest != value:
            self.complain(f"is {value}; write it in its shortest form, {shortest}")
            return None
        return value

    def duration(self, least: int = 0) -> int | None:
        """Return the duration in nanoseconds, such as ``1m30s`` or ``500ms``."""
        wants = "a duration with its unit, such as 30s, 1m30s or 500ms"
        if self.is_whole_number:
            self.complain(f"is {self.node.value}; it must be {wants}")
            return None
        value = self.text(wants, _DURATION.pattern)
        if value is None:
            return None
        if _DURATION.fullmatch(value) is None:
            self.complain(f"is {value}; it must be {wants}")
            return None
        parts = _DURATION_PART.findall(value)
        total = round(sum(float(number) * _NANOSECONDS[unit] for number, unit in parts))
        if total < least:
            self.complain(f"is {value}; it must be at least {least // 1_000_000}ms")
            return None
        return total

    def count(self, least: int) -> int | None:
        """Return the value when it is a whole number that is at least *least*."""
        if not self.is_whole_number or self.node.value != str(int(self.node.value)):
            self.complain(f"is {shape_of(self.node)}; it must be a whole number")
            return None
        number = int(self.node.value)
        if number < least:
            self.complain(f"is {number}; it must be at least {least}")
            return None
        return number

    def items(self, example: str) -> list[Field]:
        """Return a field for each item of the list; a key without a value is an empty list."""
        if self.empty:
            return []
        if not is_sequence(self.node):
            self.complain(f"is {shape_of(self.node)}; it must be a list, such as {example}")
            return []
        return [
            Field(item, f"{self.path}[{at}]", self.line_inside(item), self.problems)
            for at, item in enumerate(self.node.value)
        ]

    def texts(self, example: str) -> tuple[str, ...]:
        """Return the items of a list of texts."""
        return tuple(text for item in self.items(example) if (text := item.text()) is not None)

    def each(self, example: str, read: Callable[[Field], str | None]) -> tuple[str, ...]:
        """Return what *read* gives for each item of the list; an item given twice is refused."""
        found: list[str] = []
        for item in self.items(example):
            value = read(item)
            if value is not None and value in found:
                item.complain(f"is {value}, which the list has already; keep one")
            elif value is not None:
                found.append(value)
        return tuple(found)

    def argv(self) -> tuple[str, ...]:
        """Return a command as a list; text is refused with the list that it would be."""
        example = '["nginx", "-t"]'
        if self.is_text:
            try:
                words = shlex.split(self.node.value)
            except ValueError:
                words = []
            example = "[" + ", ".join(f'"{word}"' for word in words) + "]" if words else example
        return self.texts(example)

    def entries(self, key_pattern: str, key_wants: str, example: str) -> list[tuple[str, Field]]:
        """Return key and field for each entry of a mapping whose keys are the user's own."""
        found = []
        for key, value in self._pairs(example):
            name = str(key.value) if is_scalar(key) else shape_of(key)
            line = self.line_inside(key)
            if key.tag != TAG + "str":
                says = f"has the key {name}, which YAML does not read as text; put it into quotes."
                self.problems.add(line, f"{self.path} {says}")
            elif re.fullmatch(key_pattern, name) is None:
                self.problems.add(line, f"{self.path} has the key {name}; {key_wants}.")
            else:
                found.append((name, Field(value, f"{self.path}.{name}", line, self.problems)))
        return found

    def section(self, example: str) -> Section:
        """Return the mapping as a section of known keys; anything else counts as an empty one."""
        return Section(self, self._pairs(example))

    def variables(self, reserved: Sequence[str]) -> tuple[str, dict[str, object]]:
        """Return a mapping of Ansible variables as YAML source and as values.

        The source keeps tags and templates as they were written.
        """
        entries = self.entries(
            _VARIABLE.pattern,
            "a variable's name has letters, digits and _, and does not begin with a digit",
            "{nginx_port: 8080}",
        )
        for name, field in entries:
            if name in reserved:
                field.complain("is set by the bake itself; choose another name")
        values: dict[str, object] = {}
        for name, field in entries:
            try:
                values[name] = construct(field.node)
            except NoValueError as error:
                self.problems.add(error.line, f"{field.path} {error}.")
        return (serialise(self.node) if values and is_mapping(self.node) else NO_VARS), values

    def _pairs(self, example: str) -> list[tuple[Node, Node]]:
        if self.empty:
            return []
        if not is_mapping(self.node):
            self.complain(f"is {shape_of(self.node)}; it must be a mapping, such as {example}")
            return []
        return list(self.node.value)

    def line_inside(self, node: Node) -> int:
        """Return the line of *node*, or of this field when an alias brought it from above."""
        return max(self.line, line_of(node))


class Section:
    """A mapping whose keys are known: they are those that were asked for before :meth:`close`."""

    __slots__ = ("_fields", "_known", "_missing", "field")

    def __init__(self, field: Field, pairs: Iterable[tuple[Node, Node]]) -> None:
        self.field = field
        self._known: list[str] = []
        self._missing: dict[str, str] = {}
        self._fields: dict[str, Field] = {}
        for key, value in pairs:
            name = str(key.value) if is_scalar(key) else shape_of(key)
            path = f"{field.path}.{name}" if field.path else name
            line = field.line_inside(key)
            self._fields[name] = Field(value, path, line, field.problems)

    @property
    def empty(self) -> bool:
        """Whether it was written as a mapping, or as nothing, and holds no key."""
        return not self._fields and (self.field.empty or is_mapping(self.field.node))

    def get(self, name: str) -> Field | None:
        """Return the field of key *name*, None when it is not there."""
        self._known.append(name)
        return self._fields.get(name)

    def require(self, name: str, advice: str) -> Field | None:
        """Return the field of key *name*; when it is missing, complain with *advice*."""
        found = self.get(name)
        if found is None and is_mapping(self.field.node):
            self._missing[name] = advice
        return found

    def close(self, free_prefix: str | None = None) -> None:
        """Complain about keys that nobody asked for, and about required ones that are missing.

        A missing key that an unknown one was meant to be is not reported a second time.

        :param free_prefix: keys that begin so are the user's own.
        """
        for name, field in self._fields.items():
            if name in self._known or (free_prefix is not None and name.startswith(free_prefix)):
                continue
            meant = nearest(name, self._known)
            self._missing.pop(meant, None)
            keys = f"did you mean {meant}?" if meant else f"the keys here are {self._keys()}."
            field.problems.add(field.line, f"{field.path} is not a known key; {keys}")
        for name, advice in self._missing.items():
            path = f"{self.field.path}.{name}" if self.field.path else name
            self.field.problems.add(self.field.line, f"{path} is missing; {advice}.")

    def _keys(self) -> str:
        return " and ".join(filter(None, (", ".join(self._known[:-1]), self._known[-1])))
