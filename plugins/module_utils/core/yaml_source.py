# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML with positions: a definition's file as a graph of nodes, and what is wrong with it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeGuard, cast

from .errors import DriverError

# A controller always has PyYAML; a target that unpacks this file along with others may not.
with contextlib.suppress(ImportError):
    import yaml
    from yaml.constructor import ConstructorError, SafeConstructor
    from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

NO_VARS = "{}\n"
TAG = "tag:yaml.org,2002:"
VAULT_TAGS = ("!vault", "!vault-encrypted")
UNSAFE_TAG = "!unsafe"
_MERGE = TAG + "merge"
_NO_WRAP = 1_000_000
_CONTROL = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Vaulted:
    """A value that is encrypted in the definition: its ``!vault`` text, as it stands there."""

    ciphertext: str


@dataclass(frozen=True, slots=True)
class Unsafe:
    """A value marked ``!unsafe``: braces in it are text and never a template."""

    value: object


class Problems:
    """The errors of one file, gathered so that one run shows all of them."""

    __slots__ = ("_found", "shown_path")

    def __init__(self, shown_path: str) -> None:
        self.shown_path = shown_path
        self._found: set[tuple[int, str]] = set()

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, line: int, sentence: str) -> None:
        """Note *sentence* about *line*; the same one twice counts once."""
        self._found.add((line, sentence))

    def error(self) -> DriverError:
        """Return one error that has a line ``FILE:LINE: SENTENCE`` for each problem."""
        found = sorted(self._found)
        return DriverError(
            "\n".join(f"{self.shown_path}:{line}: {sentence}" for line, sentence in found),
            details={
                "problems": [
                    {"file": self.shown_path, "line": line, "message": sentence}
                    for line, sentence in found
                ]
            },
        )


@dataclass(frozen=True, slots=True)
class Source:
    """A definition's file, composed: aliases and merge keys are resolved in *root*."""

    path: Path
    shown_path: str
    digest: str
    root: MappingNode
    problems: Problems


def is_scalar(node: Node) -> TypeGuard[ScalarNode]:
    """Return whether *node* is a single value."""
    return isinstance(node, ScalarNode)


def is_sequence(node: Node) -> TypeGuard[SequenceNode]:
    """Return whether *node* is a list."""
    return isinstance(node, SequenceNode)


def is_mapping(node: Node) -> TypeGuard[MappingNode]:
    """Return whether *node* is a mapping."""
    return isinstance(node, MappingNode)


def line_of(node: Node) -> int:
    """Return the line on which *node* begins, counted from 1."""
    return int(node.start_mark.line) + 1


def read_source(
    path: Path,
    shown_path: str,
    *,
    loader: Any = None,
    needs: str = "an image definition needs at least base",
    shape: str = "an image definition is a mapping with base and layers",
    holds: str = "image definition",
) -> Source:
    """Read and compose the file at *path*.

    Duplicate keys and bad merges are noted in the source's problems. Raises DriverError when
    there is no file, or what it holds is not one YAML mapping.

    :param loader: a PyYAML loader; None is libyaml's where PyYAML has it, else PyYAML's own.
    :param needs: what an empty file is told.
    :param shape: what a file that is no mapping is told.
    :param holds: what a file of this kind holds one of.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DriverError(f"{shown_path}: there is no such file.") from error
    except OSError as error:
        raise DriverError(f"{shown_path}: cannot be read: {error.strerror}.") from error
    return read_text(
        content, path, shown_path, loader=loader, needs=needs, shape=shape, holds=holds
    )


def read_text(
    content: bytes,
    path: Path,
    shown_path: str,
    *,
    needs: str,
    shape: str,
    loader: Any = None,
    holds: str = "image definition",
) -> Source:
    """Compose *content*, the bytes of a file; for the rest see :func:`read_source`."""
    problems = Problems(shown_path)
    loader = loader or getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    root = _compose(content, problems, loader, holds)
    resolved = _Resolver(problems).resolve(root, "") if root is not None else None
    if not isinstance(resolved, MappingNode):
        if resolved is None or resolved.tag == TAG + "null":
            problems.add(1, f"the file is empty; {needs}.")
        else:
            problems.add(line_of(resolved), f"the file holds {shape_of(resolved)}; {shape}.")
        raise problems.error()
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    return Source(path, shown_path, digest, resolved, problems)


def shape_of(node: Node) -> str:
    """Return what *node* is, in words that fit after "is" and "holds"."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    kinds = {"null": "empty", "int": "the number", "float": "the number", "bool": "the boolean"}
    kind = kinds.get(node.tag.removeprefix(TAG), "the text")
    return kind if kind == "empty" else f"{kind} {node.value}"


def serialise(node: MappingNode) -> str:
    """Return YAML text of *node*, without document markers; it ends with a newline."""
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.serialize(node, Dumper=dumper, allow_unicode=True, width=_NO_WRAP)


class NoValueError(Exception):
    """A node that stands for no value; *line* is where, and the text says why."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def construct(node: Node) -> object:
    """Return *node* as Python values, ``!vault`` as Vaulted and ``!unsafe`` as Unsafe.

    Raises NoValueError for an unknown tag and for what looks like a date and is none.
    """
    try:
        return _constructor()().construct_document(node)
    except ConstructorError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else line_of(node)
        tag = re.search(r"constructor for the tag '(.*)'", error.problem or "")
        if tag is not None:
            reason = f"has the tag {tag.group(1)}; the tags !vault and !unsafe are known"
        else:
            reason = f"cannot be read: {error.problem}"
        raise NoValueError(line, reason) from error
    except ValueError as error:
        raise NoValueError(line_of(node), f"cannot be read: {error}; put it into quotes") from error


class _ConstructsNode(Protocol):
    def construct_scalar(self, node: Node) -> object: ...

    def construct_sequence(self, node: Node, deep: bool) -> object: ...

    def construct_mapping(self, node: Node, deep: bool) -> object: ...


def _construct_vaulted(constructor: _ConstructsNode, node: Node) -> Vaulted:
    return Vaulted(str(constructor.construct_scalar(node)))


def _construct_unsafe(constructor: _ConstructsNode, node: Node) -> Unsafe:
    if isinstance(node, SequenceNode):
        return Unsafe(constructor.construct_sequence(node, deep=True))
    if isinstance(node, MappingNode):
        return Unsafe(constructor.construct_mapping(node, deep=True))
    return Unsafe(constructor.construct_scalar(node))


@functools.cache
def _constructor() -> Any:
    """Return PyYAML's safe constructor with the tags that Ansible has."""
    made: Any = type("_Constructor", (SafeConstructor,), {})
    for tag in VAULT_TAGS:
        made.add_constructor(tag, _construct_vaulted)
    made.add_constructor(UNSAFE_TAG, _construct_unsafe)
    return made


class _Resolver:
    """Makes a graph without merge keys from one with them, noting duplicate keys on the way.

    A node that aliases share stays shared, so the work is linear whatever the aliases.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._done: dict[int, Node] = {}
        self._open: set[int] = set()

    def resolve(self, node: Node, path: str) -> Node:
        known = self._done.get(id(node))
        if known is not None:
            return known
        if id(node) in self._open:
            self._problems.add(line_of(node), f"{path} holds itself through an alias.")
            return ScalarNode(TAG + "null", "null", node.start_mark, node.end_mark)
        self._open.add(id(node))
        if isinstance(node, MappingNode):
            made: Node = self._mapping(node, path)
        elif isinstance(node, SequenceNode):
            items = [self.resolve(item, f"{path}[{at}]") for at, item in enumerate(node.value)]
            made = SequenceNode(
                node.tag, items, node.start_mark, node.end_mark, flow_style=node.flow_style
            )
        else:
            made = _plain_scalar(cast("ScalarNode", node))
        self._open.discard(id(node))
        self._done[id(node)] = made
        return made

    def _mapping(self, node: MappingNode, path: str) -> MappingNode:
        own: dict[object, tuple[Node, Node]] = {}
        merged: dict[object, tuple[Node, Node]] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                for entry in self._merged_entries(value, path):
                    merged.setdefault(_identity(entry[0]), entry)
                continue
            name = key.value if isinstance(key, ScalarNode) else ""
            inside = f"{path}.{name}" if path else name
            if isinstance(key, MappingNode):
                self._problems.add(
                    line_of(key),
                    f"{path} has a mapping for a key; put a template into quotes: "
                    '"{{ name }}".',
                )
                continue
            first = own.get(_identity(key))
            if first is not None:
                self._problems.add(
                    line_of(key),
                    f"{inside} is given twice, first on line {line_of(first[0])}; keep one.",
                )
                continue
            own[_identity(key)] = (self.resolve(key, inside), self.resolve(value, inside))
        entries = {**merged, **own}
        return MappingNode(
            node.tag,
            list(entries.values()),
            node.start_mark,
            node.end_mark,
            flow_style=node.flow_style,
        )

    def _merged_entries(self, value: Node, path: str) -> Iterator[tuple[Node, Node]]:
        for source in value.value if isinstance(value, SequenceNode) else [value]:
            if isinstance(source, MappingNode):
                resolved = self.resolve(source, f"{path}.<<" if path else "<<")
                yield from resolved.value if isinstance(resolved, MappingNode) else ()
            else:
                self._problems.add(
                    line_of(value),
                    f"{path + '.' if path else ''}<< merges {shape_of(source)}; it takes an alias "
                    "of a mapping, or a list of such aliases.",
                )


def _identity(key: Node) -> object:
    return (key.tag, key.value) if isinstance(key, ScalarNode) else id(key)


def _plain_scalar(node: ScalarNode) -> ScalarNode:
    """Return *node* in a style that survives being written and indented again.

    An empty null would be written as text inside of braces; the indentation hints and kept
    newlines of block scalars, and folding, do not survive every emitter.
    """
    value, style = node.value, node.style
    if node.tag == TAG + "null":
        value, style = value or "null", None
    elif style in ("|", ">"):
        kept = value.endswith("\n\n") or value[:1] in (" ", "\n") or value.strip() == ""
        style = '"' if kept else "|"
    return ScalarNode(node.tag, value, node.start_mark, node.end_mark, style=style)


def _compose(content: bytes, problems: Problems, loader: Any, holds: str) -> Node | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problems.add(line, "the file is not UTF-8 text; save it as UTF-8.")
        raise problems.error() from error
    control = _CONTROL.search(text)
    if control is not None:
        line = text.count("\n", 0, control.start()) + 1
        problems.add(line, f"the character {control.group()!a} cannot stand in YAML; remove it.")
        raise problems.error()
    try:
        return yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        problems.add(*_explain(error, text.splitlines(), holds))
        raise problems.error() from error
    except RecursionError as error:
        problems.add(1, "the file is nested too deeply.")
        raise problems.error() from error


def _explain(error: yaml.MarkedYAMLError, lines: list[str], holds: str) -> tuple[int, str]:
    """Return line and sentence for what the YAML parser could not read."""
    mark = error.problem_mark or error.context_mark
    at = min(mark.line if mark is not None else 0, max(len(lines) - 1, 0))
    text = lines[at] if lines else ""
    said = error.problem or error.context or "it cannot be parsed"
    indent = text[: len(text) - len(text.lstrip())]
    if "single document" in (error.context or ""):
        return at + 1, f"a second YAML document begins; a file holds one {holds}."
    if "\t" in indent:
        return at + 1, "a tab indents this line; YAML takes spaces only."
    if "undefined alias" in said:
        return at + 1, "this line uses an alias (*name) whose anchor (&name) is not above it."
    if "mapping values are not allowed" in said:
        return at + 1, (
            "this is not YAML: a colon stands where no key can be; check the indentation, and "
            "quote a value that holds a colon and a space."
        )
    if "cannot start any token" in said and mark is not None:
        return at + 1, (
            f"this is not YAML: no value begins with {text[mark.column : mark.column + 1]}; "
            "put the value into quotes."
        )
    return at + 1, f"this is not YAML: {said}; check indentation, quotes and brackets."
