# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the controls of roles from ``meta/controls.yml``.

A complaint names file, line and key, and one run makes all of them. The file has no part in what
a role does, so it is not in a layer's key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from ..core.errors import DriverError
from ..core.yaml_fields import Field, Section, alternatives, nearest
from ..core.yaml_source import Problems, Source, read_source
from .controls_model import KINDS, RELEASES, Control, Undo

CONTROLS_FILE = "meta/controls.yml"

_ID = r"[a-z0-9]+(-[a-z0-9]+)+"
_ID_WANTS = "an id has words of small letters and digits with - between, the topic first"
_CHECK = r"test_[a-z0-9_]+"
_RULE = r"[A-Za-z0-9_-]+"
_CIS = r"[0-9]+(\.[0-9]+)+"
_ANSSI = r"R[0-9]+"
_MODE = r"[0-7]{4}"
_OWNER = r"[a-z_][a-z0-9_-]*(:[a-z_][a-z0-9_-]*)?"


def load_controls(roles: Path) -> tuple[Control, ...]:
    """Return the controls of every role in the folder *roles*, sorted by role, as written.

    Raises one DriverError with a line ``FILE:LINE: SENTENCE`` for each thing that is wrong.
    """
    found: list[Control] = []
    failures: list[str] = []
    for file in sorted(roles.glob(f"*/{CONTROLS_FILE}")):
        try:
            found.extend(load_role_controls(file.parent.parent))
        except DriverError as error:
            failures.append(error.message)
    failures.extend(_duplicates(found))
    if failures:
        raise DriverError("\n".join(failures))
    return tuple(found)


def load_role_controls(role: Path) -> tuple[Control, ...]:
    """Return the controls of the role in the folder *role*; raises DriverError as load_controls."""
    file = role / CONTROLS_FILE
    shown = f"{role.parent.name}/{role.name}/{CONTROLS_FILE}"
    source = read_source(
        file, shown, needs="it needs at least controls", shape="it is a mapping with controls"
    )
    top = Field(source.root, "", 1, source.problems).section("")
    listed = top.require("controls", "it lists what the role sees to")
    items = listed.items("[{id: kernel-addresses, title: ...}]") if listed is not None else []
    specified = _specified(role)
    controls = [_control(item, role.name, specified, source) for item in items]
    top.close()
    if source.problems:
        raise source.problems.error()
    return tuple(one for one in controls if one is not None)


def _specified(role: Path) -> tuple[str, ...]:
    """Return the variables that the role's argument_specs have."""
    shown = f"{role.parent.name}/{role.name}/meta/argument_specs.yml"
    root = read_source(role / "meta" / "argument_specs.yml", shown).root
    field = Field(root, "", 1, Problems(shown))
    for key in ("argument_specs", "main", "options"):
        found = field.section("{}").get(key)
        if found is None:
            return ()
        field = found
    return tuple(name for name, _value in field.entries(".+", "", "{}"))


def _control(item: Field, role: str, specified: tuple[str, ...], source: Source) -> Control | None:
    section = item.section("{id: kernel-addresses, title: ...}")
    control = _match(section, "id", _ID, _ID_WANTS, "every control has one")
    title = _sentence(section, "title", "every control has one")
    cis = _cis(section)
    anssi = _list(section, "anssi", "[R9]", _ANSSI, "a recommendation is R and its number")
    openscap = _list(section, "openscap", "[sysctl_x]", _RULE, "leave the content's prefix out")
    kinds = _choices(section, "kinds", KINDS) or KINDS
    releases = _choices(section, "releases", RELEASES) or RELEASES
    waiver = _sentence(section, "waiver")
    wanted = "" if waiver else "a control without a waiver has it"
    why = _sentence(section, "why", wanted)
    variable = _variable(section, specified, wanted)
    check = _match(section, "check", _CHECK, "it is a function, test_...", wanted)
    undo = _undo(section, wanted)
    for name, given in (("check", check), ("undo", undo)):
        if waiver and given:
            item.complain(f"has a waiver and {name}; what is not done cannot be proved, keep one")
    section.close()
    return Control(
        control=control,
        role=role,
        title=title,
        why=why,
        cis=cis,
        anssi=anssi,
        openscap=openscap,
        variable=variable,
        kinds=kinds,
        releases=releases,
        check=check,
        undo=undo,
        waiver=waiver,
        at=f"{source.shown_path}:{item.line}",
    )


# Values ------------------------------------------------------------------------------------------


def _field(section: Section, key: str, wanted: str) -> Field | None:
    return section.require(key, wanted) if wanted else section.get(key)


def _match(section: Section, key: str, pattern: str, expectation: str, wanted: str = "") -> str:
    field = _field(section, key, wanted)
    return (field.match(pattern, expectation) if field is not None else None) or ""


def _sentence(section: Section, key: str, wanted: str = "") -> str:
    field = _field(section, key, wanted)
    text = field.text("a sentence") if field is not None else None
    return " ".join((text or "").split())


def _list(
    section: Section, key: str, example: str, pattern: str, expectation: str
) -> tuple[str, ...]:
    field = section.get(key)
    if field is None:
        return ()
    return field.each(example, lambda item: item.match(pattern, expectation))


def _choices(section: Section, key: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    field = section.get(key)
    if field is None:
        return ()
    return field.each(f"[{', '.join(allowed)}]", lambda item: item.choice(allowed))


def _cis(section: Section) -> Mapping[str, tuple[str, ...]]:
    field = section.get("cis")
    if field is None:
        return {}
    inside = field.section('{bookworm: ["1.5.4"]}')
    example, expectation = '["1.5.4"]', "a section has numbers and points, in quotes"
    found = {one: _list(inside, one, example, _CIS, expectation) for one in RELEASES}
    inside.close()
    return {release: sections for release, sections in found.items() if sections}


def _variable(section: Section, specified: tuple[str, ...], wanted: str) -> str:
    field = _field(section, "variable", wanted)
    name = field.text("a variable of the role") if field is not None else None
    if field is not None and name is not None and name not in specified:
        meant = nearest(name, specified)
        field.complain(
            f"is {name}, which meta/argument_specs.yml does not have"
            + (f" (did you mean {meant}?)" if meant else "")
        )
    return name or ""


# Undoing -----------------------------------------------------------------------------------------


def _undo(section: Section, wanted: str) -> tuple[Undo, ...]:
    field = _field(section, "undo", wanted)
    if field is None:
        return ()
    steps = [_step(item) for item in field.items("[{remove: /etc/sysctl.d/60-kiln.conf}]")]
    if not steps and wanted:
        field.complain("has no step; say what takes the setting away")
    return tuple(step for step in steps if step is not None)


def _step(item: Field) -> Undo | None:
    entries = item.entries(r"[a-z_]+", "an operation is a word", "{remove: /etc/x}")
    if len(entries) != 1:
        item.complain("has not exactly one operation; give each step an item of its own")
        return None
    operation, field = entries[0]
    read = _OPERATIONS.get(operation)
    if read is None:
        names = tuple(_OPERATIONS)
        meant = nearest(operation, names)
        advice = f" (did you mean {meant}?)" if meant else ""
        item.complain(f"has the operation {operation}; it is {alternatives(names)}{advice}")
        return None
    return read(operation, field)


def _of_path(operation: str, field: Field) -> Undo:
    return Undo(operation, path=field.absolute_path() or "")


def _of_command(operation: str, field: Field) -> Undo:
    return Undo(operation, text=field.text("a command") or "")


def _of_mapping(*keys: str) -> Callable[[str, Field], Undo]:
    """Return a reader of an operation whose value is a mapping of ``path`` and *keys*."""

    def read(operation: str, field: Field) -> Undo:
        section = field.section("{path: /etc/x, ...}")
        asked = section.require("path", f"{operation} needs it")
        values = {key: section.require(key, f"{operation} needs it") for key in keys}
        section.close()
        found = {_PLACES.get(key, key): _value(key, value) for key, value in values.items()}
        return Undo(operation, path=(asked.absolute_path() if asked else None) or "", **found)

    return read


_PLACES = {"with": "text", "line": "text", "content": "text"}


def _value(key: str, field: Field | None) -> str:
    if field is None:
        return ""
    if key == "mode":
        return field.match(_MODE, "it has four octal digits, in quotes") or ""
    if key == "owner":
        return field.match(_OWNER, "it is a NAME or NAME:GROUP") or ""
    if field.is_text and field.node.value == "" and key in ("with", "content"):
        return ""
    text = field.text() or ""
    if key == "match":
        try:
            re.compile(text)
        except re.error as error:
            field.complain(f"is {text}, which is no regular expression: {error}")
    return text


_OPERATIONS: dict[str, Callable[[str, Field], Undo]] = {
    "remove": _of_path,
    "drop_line": _of_mapping("match"),
    "replace": _of_mapping("match", "with"),
    "append": _of_mapping("line"),
    "create": _of_mapping("content", "mode"),
    "mode": _of_mapping("mode"),
    "owner": _of_mapping("owner"),
    "command": _of_command,
}


def _duplicates(controls: list[Control]) -> list[str]:
    first: dict[str, Control] = {}
    complaints = []
    for one in controls:
        other = first.setdefault(one.control, one)
        if other is not one:
            complaints.append(
                f"{one.at}: id is {one.control}, as at {other.at}; each control has its own."
            )
    return complaints
