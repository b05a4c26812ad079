# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML as a tree of nodes with line numbers, and the raw values it stands for.

Documents are composed, not constructed: a tag that nobody knows is no error, and nothing runs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from .model import Secret, Unsafe
from .values import NotPlain

try:
    import yaml
    from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
except ImportError:  # a machine without PyYAML is a target, and never computes keys
    MappingNode = Node = ScalarNode = SequenceNode = object  # type: ignore[misc,assignment]

_STRING = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_DEPTH = 64


__all__ = [
    "Malformed",
    "MappingNode",
    "Node",
    "ScalarNode",
    "SequenceNode",
    "compose",
    "is_unsafe",
    "is_vault",
    "items",
    "line_of",
    "pairs",
    "raw_of",
    "scalars",
    "value_of",
]


class Malformed(ValueError):
    """The text is no YAML; carries the line where reading stopped."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem)
        self.line = line


@functools.cache
def _loader() -> type[yaml.SafeLoader]:
    """Return libyaml's loader where PyYAML was built with it: it is ten times as fast."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.lru_cache(maxsize=4096)
def compose(text: str) -> tuple[Node, ...]:
    """Return the root nodes of every document in *text*; raises Malformed.

    A file is read for what it mentions and again for its tasks, and images share their roles.
    """
    try:
        return tuple(yaml.compose_all(text, Loader=_loader()))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it cannot be read as YAML"
        raise Malformed(str(problem), mark.line + 1 if mark is not None else 1) from error
    except UnicodeError as error:
        raise Malformed("it is not UTF-8", 1) from error
    except RecursionError as error:
        raise Malformed("it is nested too deeply", 1) from error


def line_of(node: Node, offset: int = 0) -> int:
    """Return the line of *node*, or of the character at *offset* of its text."""
    line = int(node.start_mark.line) + 1
    if isinstance(node, ScalarNode):
        if node.style in ("|", ">"):
            line += 1
        line += node.value.count("\n", 0, offset)
    return line


def pairs(node: Node, depth: int = _DEPTH) -> Iterator[tuple[str, Node]]:
    """Yield key and value of a mapping, the keys of merged mappings (``<<``) included."""
    if not isinstance(node, MappingNode) or depth == 0:
        return
    for key, value in node.value:
        if key.tag == _MERGE:
            merged = value.value if isinstance(value, SequenceNode) else [value]
            for part in merged:
                yield from pairs(part, depth - 1)
        elif isinstance(key, ScalarNode):
            yield key.value, value


def items(node: Node) -> list[Node]:
    """Return the items of a sequence; nothing for other nodes."""
    return list(node.value) if isinstance(node, SequenceNode) else []


def scalars(root: Node, key: str = "") -> Iterator[tuple[str, ScalarNode]]:
    """Yield every scalar below *root* once, with the key that it stands under (*key* for itself).

    The items of a list stand under the key of the list; a key itself under no name.
    """
    seen: set[int] = set()
    pending: list[tuple[str, Node]] = [(key, root)]
    while pending:
        under, node = pending.pop()
        if isinstance(node, ScalarNode):
            yield under, node
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, SequenceNode):
            pending.extend((under, inner) for inner in node.value)
        elif isinstance(node, MappingNode):
            for name, inner in node.value:
                pending.append(("", name))
                pending.append((name.value if isinstance(name, ScalarNode) else "", inner))


def value_of(node: Node, depth: int = _DEPTH) -> object:
    """Return the raw value of *node*: vault texts as Secret, ``!unsafe`` as Unsafe.

    Raises NotPlain for what is nested too deeply (an alias inside itself) and for tags that
    are no JSON.
    """
    if depth == 0:
        raise NotPlain("an endless structure")
    if isinstance(node, ScalarNode):
        if node.tag in (_STRING, "!unsafe"):
            return Unsafe(node.value) if node.tag == "!unsafe" else node.value
        if node.tag.startswith("!"):
            return Secret(node.value)
        try:
            value: object = yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise NotPlain(node.tag) from error
        return value
    if isinstance(node, SequenceNode):
        return [value_of(inner, depth - 1) for inner in node.value]
    result: dict[str, object] = {}
    for key, inner in pairs(node):
        result.setdefault(key, None)
        result[key] = value_of(inner, depth - 1)
    return result


def raw_of(node: Node, otherwise: object = None) -> object:
    """Return the raw value of *node*, or *otherwise* when it has none."""
    try:
        return value_of(node)
    except NotPlain:
        return otherwise


def is_vault(node: ScalarNode) -> bool:
    """Whether *node* is a text that Ansible Vault encrypted."""
    return node.tag in ("!vault", "!vault-encrypted")


def is_unsafe(node: ScalarNode) -> bool:
    """Whether *node* is a text that is no template."""
    return bool(node.tag == "!unsafe")
