# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking for the files that the texts of a layer name, inside its roles and outside of them."""

from __future__ import annotations

import functools
import glob
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .evaluation import Evaluator, Possible, Values, texts
from .expressions import Token
from .model import Variable
from .modules import CHECKSUM, FETCHERS, URL, Reads
from .notes import UNKNOWN, Notes, Reference, Role
from .tasks import Loop
from .tree import SHIPPED, Entry, role_excludes, walk
from .values import Seal, plain

_FOLDERS = ("files", "templates", "vars", "tasks")
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Outside:
    """A file or tree outside of the layer's roles that the layer reads."""

    label: str
    entries: tuple[Entry, ...]
    secret: bool


@dataclass(slots=True)
class Found:
    """What one reference led to."""

    outside: dict[str, Outside | None] = field(default_factory=dict)
    texts: list[tuple[Path, Role, Reads]] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    environment: list[tuple[str, bool]] = field(default_factory=list)
    hazards: list[str] = field(default_factory=list)


class Search:
    """Follows references to what is on disk.

    :param places: label -> directory where Ansible looks for what a role does not have.
    :param earlier: names that facts of earlier layers may give a value to.
    """

    def __init__(
        self,
        notes: Notes,
        roles: Mapping[str, Role],
        *,
        places: Mapping[str, Path],
        variables: Mapping[str, Variable],
        earlier: Collection[str],
        seal: Seal,
    ) -> None:
        self._notes = notes
        self._roles = roles
        self._places = {label: Path(os.path.abspath(path)) for label, path in places.items()}
        self._variables = variables
        self._earlier = frozenset(earlier)
        self._seal = seal
        self._walked: dict[str, tuple[Entry, ...]] = {}

    # Values of names -------------------------------------------------------------------------

    def _evaluator(self, reference: Reference, *, inside_loop: bool = True) -> Evaluator:
        return Evaluator(
            functools.partial(self._name, reference, inside_loop),
            functools.partial(self._files, reference, inside_loop),
        )

    def _name(self, reference: Reference, inside_loop: bool, name: str) -> Values:
        """What *name* may stand for at *reference*; None when that cannot be told."""
        own = reference.loop
        if name == "role_path":
            return [Possible(str(reference.source.role.path))]
        if name == "role_name":
            return [Possible(reference.source.role.label.rpartition(".")[2])]
        if (
            inside_loop
            and own is not None
            and own.variable == name
            and name not in self._notes.passed_on
        ):
            return self._repeated(own, reference)
        if name in self._earlier:
            return None
        found = self._noted(reference, inside_loop, name)
        if found is None:
            return None
        variable = self._variables.get(name)
        if variable is not None:
            secret = variable.secret or name in self._notes.secret_words
            found.append(Possible(variable.value, secret))
        elif name == "playbook_dir" and "playbook" in self._places:
            found.append(Possible(str(self._places["playbook"])))
        return found or None

    def _noted(self, reference: Reference, inside_loop: bool, name: str) -> Values:
        """What the texts of the roles give to *name*: its definitions, and the loops over it."""
        values = self._notes.values_of(name)
        if any(raw is UNKNOWN for raw in values):
            return None
        found = [Possible(raw) for raw in values]
        for loop in self._notes.loops.get(name, ()) if inside_loop else ():
            each = self._repeated(loop, reference)
            if each is None:
                return None
            found.extend(each)
        return found

    def _files(
        self,
        reference: Reference,
        inside_loop: bool,
        name: str,
        terms: tuple[tuple[Token, ...], ...],
        *,
        listed: bool,
    ) -> Values:
        """What a lookup of files may answer; None when that cannot be told."""
        if name not in ("fileglob", "first_found", "file"):
            return None
        evaluator = self._evaluator(reference, inside_loop=inside_loop)
        found: list[Possible] = []
        for words in terms:
            paths = self._named(evaluator.expression(words), name, reference)
            if paths is None:
                return None
            if name == "file":
                found.extend(Possible(_text(path)) for path in paths)
            else:
                found.extend(map(Possible, paths))
        if listed or name == "fileglob":
            return [Possible([one.value for one in found])]
        return found or None

    def _repeated(self, loop: Loop, reference: Reference) -> Values:
        evaluator = self._evaluator(reference, inside_loop=False)
        if loop.kind in ("fileglob", "first_found"):
            paths = self._named(evaluator.values(loop.items), loop.kind, reference)
            return None if paths is None else [Possible(path) for path in paths]
        if loop.kind not in ("loop", "items", "list", "dict", "flattened"):
            return None
        wholes = evaluator.values(loop.items)
        if wholes is None:
            return None
        found: list[Possible] = []
        for whole, secret in wholes:
            if loop.kind == "dict" and isinstance(whole, Mapping):
                members: Iterable[object] = (
                    {"key": key, "value": value} for key, value in whole.items()
                )
            elif isinstance(whole, list):
                members = whole
            else:
                return None
            for member in members:
                values = evaluator.values(member)
                if values is None:
                    return None
                for value, hidden in values:
                    flat = isinstance(value, list) and loop.kind != "loop"
                    each = value if isinstance(value, list) and flat else [value]
                    found.extend(Possible(one, secret or hidden) for one in each)
        return found

    def _named(self, values: Values, kind: str, reference: Reference) -> list[str] | None:
        """The paths that exist among those that fileglob or first_found are given."""
        patterns = _patterns(values, self._evaluator(reference, inside_loop=False))
        if patterns is None:
            return None
        found: list[str] = []
        for pattern, _secret in patterns:
            for place in self._candidates(pattern, reference, _FOLDERS):
                found.extend(_existing(place, globbed=kind == "fileglob"))
        return list(dict.fromkeys(found))

    # References ------------------------------------------------------------------------------

    def follow(self, reference: Reference) -> Found:
        """Return what *reference* leads to; a reason when it cannot be told."""
        found = Found()
        evaluator = self._evaluator(reference)
        if reference.words:
            values = evaluator.expression(reference.words)
        elif isinstance(reference.value, list) and reference.wants == "file":
            values = [Possible(one) for one in reference.value]
        else:
            values = evaluator.values(reference.value)
        if reference.wants in ("glob", "first"):
            named = _patterns(values, evaluator)
        else:
            named = texts(_flattened(values) if reference.words else values)
        if reference.reads is Reads.SCRIPT and named is None:
            named = self._script(reference)
        if named is None or (not named and reference.wants != "glob"):
            found.hazards.append(
                f"{reference.told} is given by an expression that cannot be followed"
            )
            return found
        if reference.wants == "environment":
            found.environment = [(name, reference.secret) for name, secret in named]
        elif reference.wants == "role":
            found.roles = [name.strip() for name, secret in named]
        elif reference.wants == "not remote":
            if any(URL.search(text) for text, secret in named):
                found.hazards.append(f"{reference.told} fetches bytes that no checksum pins")
        elif reference.wants == "checksum":
            if not all(CHECKSUM.match(text.strip()) for text, secret in named):
                found.hazards.append("the checksum is not a digest, but read from elsewhere")
        else:
            self._locate(reference, named, found)
        return found

    def _script(self, reference: Reference) -> list[tuple[str, bool]] | None:
        """A script's arguments may be any expression; its own name may not."""
        text = reference.value if isinstance(reference.value, str) else ""
        head = text.strip().split(maxsplit=1)[0] if text.strip() else ""
        return [(head, False)] if head and "{" not in head else None

    def _locate(self, reference: Reference, named: list[tuple[str, bool]], found: Found) -> None:
        watched = len(named) > 1 or reference.wants != "file"
        located = False
        for raw, tainted in named:
            text = raw.strip()
            if reference.reads is Reads.SCRIPT:
                text = text.split(maxsplit=1)[0] if text else ""
            if not text:
                continue
            if text.startswith("~"):
                found.hazards.append(f"{reference.told} names a path in somebody's home directory")
                continue
            if URL.match(text):
                found.hazards.append(f"{reference.told} fetches bytes that no checksum pins")
                continue
            hidden = tainted or reference.secret
            located = self._look(text, reference, hidden, tainted, found) or located
        if not located and not found.hazards and not (watched and reference.wants != "file"):
            found.hazards.append(
                f"{reference.told} names a file that is in none of the places searched"
            )

    def _look(
        self, text: str, reference: Reference, secret: bool, tainted: bool, found: Found
    ) -> bool:
        folders = _FOLDERS if reference.wants in ("glob", "first") else (reference.folder,)
        globbed = reference.wants == "glob"
        located = False
        for own in (True, False):
            for place in self._candidates(text, reference, folders, own=own):
                existing = _existing(place, globbed=globbed)
                for path in existing:
                    self._cover(path, text, reference, secret, tainted, found)
                    located = True
                if not existing and not self._inside(place):
                    found.outside.setdefault(self._label(place, text, tainted), None)
            if located and reference.wants == "file":
                return True
        return located

    def _candidates(
        self, text: str, reference: Reference, folders: tuple[str, ...], own: bool | None = None
    ) -> list[str]:
        if os.path.isabs(text):
            return [] if own is False else [os.path.normpath(text)]
        role = os.fspath(reference.source.role.path)
        bases: list[str] = []
        if own is not False:
            bases += [f"{role}/{folder}" for folder in folders]
            beside = os.path.dirname(reference.source.path)
            bases += [role, f"{role}/tasks", beside]
            bases += [f"{beside}/{folder}" for folder in folders]
        if own is not True:
            others = [os.fspath(one.path) for one in self._roles.values()]
            for place in (*others, *map(os.fspath, self._places.values())):
                if place != role:
                    bases += [f"{place}/{folder}" for folder in folders]
                    bases.append(place)
        return list(dict.fromkeys(os.path.normpath(f"{base}/{text}") for base in bases))

    def _inside(self, path: str) -> Role | None:
        inside = [one for one in self._roles.values() if _below(path, os.fspath(one.path))]
        return max(inside, key=lambda one: len(os.fspath(one.path)), default=None)

    def _cover(
        self,
        path: str,
        text: str,
        reference: Reference,
        secret: bool,
        tainted: bool,
        found: Found,
    ) -> None:
        """See that the bytes at *path* are part of the key, and read it where it is rendered."""
        role = self._inside(path)
        # Both are normal paths: os.path.relpath() would ask the system for the current directory.
        relative = "" if role is None else path[len(os.fspath(role.path)) + 1 :] or "."
        if role is None or not _in_tree(path, relative, role):
            label = self._label(path, text, tainted)
            known = found.outside.get(label)
            entries = self._walk(path)
            found.outside[label] = Outside(
                label, entries, secret or (known is not None and known.secret)
            )
        elif relative in role.entries and role.entries[relative].kind == "file":
            entries = (role.entries[relative],)
        else:
            entries = tuple(one for one in role.entries.values() if _below(one.location, path))
        if reference.reads is Reads.BYTES:
            return
        owner = role or reference.source.role
        for entry in entries:
            if entry.kind == "file":
                found.texts.append((Path(entry.location), owner, reference.reads))
                if reference.reads is Reads.SCRIPT and FETCHERS.search(
                    _text(entry.location) + "\n"
                ):
                    found.hazards.append("the script fetches something from afar")

    def _walk(self, path: str) -> tuple[Entry, ...]:
        known = self._walked.get(path)
        if known is None:
            known = self._walked[path] = walk(Path(path))
        return known

    def _label(self, place: str, text: str, tainted: bool) -> str:
        """Name *place* so that a checkout elsewhere gives the same name."""
        path = Path(place)
        named = {f"role {one.label}": one.path for one in self._roles.values()} | self._places
        inside = [(label, root) for label, root in named.items() if path.is_relative_to(root)]
        if inside:
            label, root = max(inside, key=lambda one: len(one[1].parts))
            told = f"{label}:{path.relative_to(root).as_posix()}"
            return f"{label}:{self._seal(plain(told, None))}" if tainted else told
        if tainted:
            return f"controller:{self._seal(plain(place, None))}"
        home = self._places["definition"]
        shared = Path(os.path.commonpath((home, path)))
        near = len(shared.parts) > 1 and len(shared.parts) + 3 >= len(home.parts)
        if near or not os.path.isabs(text):
            return "definition:" + os.path.relpath(path, home)
        return f"controller:{path}"


def _patterns(values: Values, evaluator: Evaluator) -> list[tuple[str, bool]] | None:
    """Texts of nested lists and of first_found's ``{files, paths}``."""
    if values is None:
        return None
    result: list[tuple[str, bool]] = []
    pending = list(values)
    while pending:
        value, secret = pending.pop(0)
        if isinstance(value, list):
            for one in map(evaluator.values, value):
                if one is None:
                    return None
                pending.extend(Possible(each.value, each.secret or secret) for each in one)
        elif isinstance(value, Mapping):
            files = _patterns([Possible(_listed(value.get("files", [])))], evaluator)
            paths = _patterns([Possible(_listed(value.get("paths", [])))], evaluator)
            if files is None or paths is None:
                return None
            for name, hidden in files:
                for path, two in paths or [("", False)]:
                    result.append((os.path.join(path, name), hidden or two or secret))
        elif isinstance(value, str):
            result.append((value, secret))
    return list(dict.fromkeys(result))


def _listed(value: object) -> object:
    if isinstance(value, str) and "{" not in value:
        return [one for one in re.split(r"[,;:\s]+", value) if one]
    return value


def _flattened(values: Values) -> Values:
    if values is None:
        return None
    result: list[Possible] = []
    for value, secret in values:
        if isinstance(value, list):
            result.extend(Possible(one, secret) for one in value)
        else:
            result.append(Possible(value, secret))
    return result


def _below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _existing(place: str, *, globbed: bool) -> list[str]:
    if globbed:
        return [one for one in sorted(glob.glob(place)) if os.path.isfile(one)]
    return [place] if os.path.lexists(place) else []


def _in_tree(path: str, relative: str, role: Role) -> bool:
    """Whether the files of *role* that were read hold everything at *path*."""
    if relative in role.entries and role.entries[relative].kind == "file":
        return True
    top = relative.partition("/")[0]
    return top in SHIPPED and os.path.isdir(path) and not role_excludes(relative)


def _text(path: str) -> str:
    if not os.path.isfile(path):
        return ""
    with open(path, "rb") as stream:
        return stream.read().decode("utf-8", "replace").rstrip()
