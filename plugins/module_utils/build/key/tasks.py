# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks as the analysis sees them: module, options, loop, and whether they are secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .builtin_names import TASK_KEYWORDS
from .documents import Node, items, line_of, pairs, raw_of
from .mentions import short
from .modules import COMMANDS, base_name

_PAIR = re.compile(
    r"(?:^|\s)([A-Za-z_]\w*)=((?:\{\{.*?\}\}|\"(?:\\.|[^\"])*\"|'(?:\\.|[^'])*'|[^\s'\"{]|\{)*)",
    re.DOTALL,
)
_BLOCKS = ("block", "rescue", "always")
_FALSE = ("false", "no", "off", "0", "")


@dataclass(frozen=True, slots=True)
class Loop:
    """What a task repeats over: the kind (``loop``, ``items``, ``fileglob`` ...) and raw items."""

    variable: str
    kind: str
    items: object


@dataclass(frozen=True, slots=True)
class Task:
    """One task, or the head of a block (without a module).

    :param options: raw values of the module's options, free-form text under ``_raw_params``.
    :param lines: the line of each option.
    :param own: the nodes that belong to this task alone, not to tasks in its blocks.
    :param secret: the task, or a block around it, says ``no_log``.
    """

    module: str
    options: Mapping[str, object]
    lines: Mapping[str, int]
    keywords: Mapping[str, Node]
    own: tuple[tuple[str, Node], ...]
    line: int
    secret: bool
    loop: Loop | None = None
    local: bool = False

    def text(self, option: str) -> str | None:
        """Return *option* when it is a scalar, as text."""
        value = self.options.get(option)
        return value if isinstance(value, str) else None if value is None else str(value)


def tasks(root: Node, *, secret: bool = False, depth: int = 32) -> Iterator[Task]:
    """Yield the tasks of a list of tasks, those in blocks too."""
    for node in items(root):
        entries = dict(pairs(node))
        if not entries:
            continue
        hidden = secret or _hides(entries.get("no_log"))
        yield _task(node, entries, hidden)
        if depth:
            for name in _BLOCKS:
                if name in entries:
                    yield from tasks(entries[name], secret=hidden, depth=depth - 1)


def _hides(node: Node | None) -> bool:
    return node is not None and str(node.value).strip().lower() not in _FALSE


def _task(node: Node, entries: Mapping[str, Node], secret: bool) -> Task:
    module = ""
    arguments: Node | None = None
    local = False
    for key, value in entries.items():
        if key in ("action", "local_action"):
            local = local or key == "local_action"
            module, arguments = key, value
        elif key not in TASK_KEYWORDS and not key.startswith("with_") and not module:
            module, arguments = key, value
    options: dict[str, object] = {}
    lines: dict[str, int] = {}
    line = line_of(node)
    for source in (entries.get("args"), arguments):
        if source is None:
            continue
        raw = raw_of(source)
        if isinstance(raw, dict):
            options.update(raw)
            lines.update({name: line_of(inner) for name, inner in pairs(source)})
        elif raw is not None:
            parsed = _free_form(module, str(raw))
            options.update(parsed)
            lines.update(dict.fromkeys(parsed, line_of(source)))
    if module in ("action", "local_action"):
        chosen = options.pop("module", None)
        if chosen is None and "_raw_params" in options:
            chosen, _space, rest = str(options.pop("_raw_params")).partition(" ")
            if rest:
                options["_raw_params"] = rest
        module = str(chosen or "")
    return Task(
        module=module,
        options=options,
        lines=lines,
        keywords=entries,
        own=tuple((key, value) for key, value in entries.items() if key not in _BLOCKS),
        line=line,
        secret=secret,
        loop=_loop(entries),
        local=local,
    )


def _free_form(module: str, text: str) -> dict[str, str]:
    name = base_name(module)
    if name in COMMANDS:
        return {"_raw_params": text}
    found = {match[1]: _unquoted(match[2]) for match in _PAIR.finditer(text)}
    rest = _PAIR.sub("", text).strip()
    if rest:
        found["_raw_params"] = rest
    return found


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def _loop(entries: Mapping[str, Node]) -> Loop | None:
    control = dict(pairs(entries["loop_control"])) if "loop_control" in entries else {}
    named = control.get("loop_var")
    variable = str(named.value) if named is not None else "item"
    if "loop" in entries:
        return Loop(variable, "loop", raw_of(entries["loop"]))
    for key, node in entries.items():
        if key.startswith("with_"):
            return Loop(variable, short(key[len("with_") :]), raw_of(node))
    return None
