# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an expression asks for beyond plain variables, and what cannot be followed.

The rules work on the words of an expression. A rule that is not sure says so: a line too many
called uncacheable costs time, a line too few would give a wrong image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .builtin_names import FILTERS, TESTS, names
from .expressions import Expression, Token, closing, split

Words = tuple[Token, ...]


class Hazard(NamedTuple):
    """Something that cannot be followed."""

    reason: str
    at: int


class Mention(NamedTuple):
    """A name that Ansible itself gives a value to (``ansible_...``, ``inventory_hostname``)."""

    name: str
    at: int


class Plugin(NamedTuple):
    """A filter, test or lookup that is not part of ansible-core."""

    name: str
    at: int


class Lookup(NamedTuple):
    """A call of a lookup plugin; a term is the words of one argument."""

    name: str
    terms: tuple[Words, ...]
    options: tuple[tuple[str, Words], ...]
    at: int


class Inclusion(NamedTuple):
    """A template that another template includes, imports or extends."""

    words: Words
    at: int


Finding = Hazard | Mention | Plugin | Lookup | Inclusion

#: Names that Ansible computes from where and how it runs.
CONTEXT = names(
    "inventory_hostname inventory_hostname_short inventory_dir inventory_file group_names "
    "play_hosts playbook_dir role_path role_names"
)
#: Names whose value is a place on this machine; only a file reference may mention them.
PLACES = names(
    "role_path playbook_dir inventory_dir inventory_file ansible_config_file "
    "ansible_playbook_python ansible_search_path ansible_inventory_sources ansible_role_path"
)
VOLATILE_FILTERS = {
    "random": "draws a random number",
    "shuffle": "shuffles at random",
    "vault": "encrypts with a random salt",
    "fileglob": "lists files of the controller",
    "realpath": "reads the controller's file system",
    "expanduser": "reads the controller's accounts",
    "expandvars": "reads the controller's environment",
    "relpath": "depends on the controller's working directory",
}
#: Names that a template is given by the machine that renders it.
OF_RENDERING = {
    "template_fullpath": "is a place on this machine, used as a value",
    "template_host": "is the name of the machine that bakes",
    "template_mtime": "is the time of a file on this machine",
    "template_path": "is a place on this machine, used as a value",
    "template_run_date": "reads the clock",
    "template_uid": "is the user who owns a file on this machine",
    "lipsum": "draws words at random",
}
FILE_TESTS = names(
    "file is_file directory is_dir link is_link exists link_exists is_link_exists mount is_mount "
    "same_file is_same_file vaulted_file"
)
_CORE = ("ansible.builtin.", "ansible.legacy.")
_JUDGED = frozenset(VOLATILE_FILTERS) | names(
    "password_hash strftime map select reject selectattr rejectattr"
)
_PLAIN_FILTER = r"\s*(?:" + "|".join(sorted(FILTERS - _JUDGED)) + r")\b(?!\s*\.)"
_INTERESTING = re.compile(
    r"\b(?:lookup|query|q|now|hostvars|groups|vars|is|map|select|reject|selectattr|rejectattr|"
    r"include|import|extends|from|strftime|"
    + "|".join(OF_RENDERING)
    + "|"
    + "|".join(sorted(CONTEXT))
    + r")\b|ansible_|\|(?!"
    + _PLAIN_FILTER
    + ")"
)


def short(name: str) -> str:
    """Return a plugin's name without the namespace of ansible-core."""
    for prefix in _CORE:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def findings(text: str, expression: Expression) -> Iterator[Finding]:
    """Yield what *expression* asks for; positions are offsets into *text*."""
    if _INTERESTING.search(text, expression.start, expression.end) is None:
        return
    words = expression.tokens
    if expression.block:
        yield from _inclusions(words)
    index = 0
    while index < len(words):
        word = words[index]
        if word.kind != "name":
            index += 1
            continue
        before = words[index - 1] if index else None
        if before is not None and before.text == ".":
            index += 1
        elif before is not None and before.text == "|" and before.kind == "sign":
            name, index = _dotted(words, index)
            yield from _filter(name, words, index, word.at)
        elif _is_test(words, index):
            name, index = _dotted(words, index)
            yield from _test(name, word.at)
        else:
            yield from _name(words, index)
            index += 1


def _at(words: Words, index: int) -> str:
    return words[index].text if index < len(words) else ""


def _dotted(words: Words, index: int) -> tuple[str, int]:
    parts = [words[index].text]
    index += 1
    while _at(words, index) == "." and index + 1 < len(words) and words[index + 1].kind == "name":
        parts.append(words[index + 1].text)
        index += 2
    return ".".join(parts), index


def _is_test(words: Words, index: int) -> bool:
    if index and words[index].text != "not" and words[index - 1].text == "is":
        return words[index - 1].kind == "name"
    return index > 1 and words[index - 1].text == "not" and words[index - 2].text == "is"


def _arguments(words: Words, opening: int) -> list[Words]:
    if _at(words, opening) != "(":
        return []
    inner = words[opening + 1 : closing(words, opening)]
    return split(inner, ",") if inner else []


def _keyword(argument: Words) -> str | None:
    if len(argument) > 2 and argument[0].kind == "name" and argument[1].text == "=":
        return argument[0].text if argument[2].text != "=" else None
    return None


def _filter(full: str, words: Words, after: int, at: int) -> Iterator[Finding]:
    name = short(full)
    arguments = _arguments(words, after)
    keywords = {_keyword(argument) for argument in arguments}
    steadied = "salt" if name == "vault" else "seed"
    if name in ("random", "shuffle", "vault") and steadied in keywords:
        return
    if name in VOLATILE_FILTERS:
        yield Hazard(f"the filter {name} {VOLATILE_FILTERS[name]}", at)
    elif name == "password_hash":
        if "salt" not in keywords and sum(_keyword(one) is None for one in arguments) < 2:
            yield Hazard("the filter password_hash draws a random salt; give it one", at)
    elif name == "strftime" and "second" not in keywords and not arguments:
        yield Hazard("the filter strftime without a second argument reads the clock", at)
    elif name in ("select", "reject", "selectattr", "rejectattr", "map"):
        yield from _applied(name, arguments, at)
    elif name not in FILTERS:
        yield Plugin(name if "." in name else f"ansible.legacy.{name}", at)


def _applied(name: str, arguments: list[Words], at: int) -> Iterator[Finding]:
    """The filter or test that map, select and their kin are given by name."""
    positional = [argument for argument in arguments if _keyword(argument) is None]
    place = 1 if name.endswith("attr") else 0
    if len(positional) <= place:
        return
    chosen = positional[place]
    applied = chosen[0].literal if len(chosen) == 1 else None
    if applied is None:
        yield Hazard(f"{name} is given the name of its plugin by an expression", at)
    elif name == "map":
        yield from (
            _filter(applied, (), 0, at)
            if applied != "random"
            else iter((Hazard("the filter random draws a random number", at),))
        )
    else:
        yield from _test(applied, at)


def _test(full: str, at: int) -> Iterator[Finding]:
    name = short(full)
    if name in FILE_TESTS:
        yield Hazard(f"the test {name} looks at the controller's file system", at)
    elif name not in TESTS:
        yield Plugin(name if "." in name else f"ansible.legacy.{name}", at)


def _name(words: Words, index: int) -> Iterator[Finding]:
    word = words[index]
    name = word.text
    after = _at(words, index + 1)
    if after == "=" and _at(words, index + 2) != "=" and index and words[index - 1].text in "(,":
        return
    if name in ("lookup", "query", "q"):
        if after == "(":
            yield from _lookup(words, index)
        elif name != "q":
            yield Hazard(f"{name} is not called with the name of a lookup", word.at)
    elif name == "now" and after == "(":
        yield Hazard("now() reads the clock", word.at)
    elif name == "hostvars":
        yield Hazard("hostvars reads the variables of any host", word.at)
    elif name == "groups":
        yield Hazard("groups reads the inventory", word.at)
    elif name in OF_RENDERING:
        yield Hazard(f"{name} {OF_RENDERING[name]}", word.at)
    elif name == "vars":
        literal = after == "[" and _at(words, index + 3) == "]"
        if not (after == "." or (literal and words[index + 2].literal is not None)):
            yield Hazard("vars is read with a computed name, or as a whole", word.at)
    elif name == "ansible_facts":
        yield _fact(words, index)
    elif name in CONTEXT or name.startswith("ansible_"):
        yield Mention(name, word.at)


def _fact(words: Words, index: int) -> Finding:
    word = words[index]
    after = _at(words, index + 1)
    chosen: str | None = None
    if after == "." and index + 2 < len(words):
        chosen = words[index + 2].text
        if chosen == "get":
            arguments = _arguments(words, index + 3)
            chosen = arguments[0][0].literal if arguments and len(arguments[0]) == 1 else None
    elif after == "[" and _at(words, index + 3) == "]":
        chosen = words[index + 2].literal
    if chosen is None:
        return Hazard("ansible_facts is read with a computed name, or as a whole", word.at)
    return Mention(f"ansible_facts.{chosen}", word.at)


def _lookup(words: Words, index: int) -> Iterator[Finding]:
    word = words[index]
    arguments = _arguments(words, index + 1)
    first = arguments[0] if arguments else ()
    name = first[0].literal if len(first) == 1 else None
    if name is None:
        yield Hazard("the name of the lookup is computed", word.at)
        return
    terms = tuple(argument for argument in arguments[1:] if _keyword(argument) is None)
    options = tuple(
        (keyword, argument[2:])
        for argument in arguments[1:]
        if (keyword := _keyword(argument)) is not None
    )
    yield Lookup(short(name), terms, options, word.at)


def _inclusions(words: Words) -> Iterator[Finding]:
    rest = words[1:] if words and words[0].text in "-+" else words
    if not rest or rest[0].text not in ("include", "import", "from", "extends"):
        return
    named: list[Token] = []
    for word in rest[1:]:
        if word.kind == "name" and word.text in ("with", "without", "ignore", "import", "as"):
            break
        named.append(word)
    while named and named[-1].text in "-+":
        named.pop()
    yield Inclusion(tuple(named), rest[0].at)
