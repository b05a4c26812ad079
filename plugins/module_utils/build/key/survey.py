# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the roles of a layer and following what they name, until nothing new turns up."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from ...core.errors import DriverError
from .expressions import identifiers
from .model import Resolve, Reveal, Variable
from .modules import Reads
from .notes import Notes, Reference, Role, Source
from .reading import Reader
from .search import Found, Search
from .task_rules import read_tasks
from .tree import role_excludes, walk
from .values import Seal, texts

_YAML = (".yml", ".yaml", ".json", "")


class Survey:
    """Everything that a layer's texts led to.

    ``roles`` are those read, ``followed`` the variables they reach and whether each is secret,
    ``found`` what each of ``notes.references`` led to.
    """

    def __init__(
        self,
        *,
        definition_dir: Path,
        resolve: Resolve,
        variables: Mapping[str, Variable],
        seal: Seal,
        search: Mapping[str, Path],
        earlier: Collection[str],
        reveal: Reveal | None,
    ) -> None:
        self.home = Path(os.path.abspath(definition_dir))
        self._resolve = resolve
        self._variables = variables
        self.notes = Notes()
        self._reader = Reader(self.notes, reveal)
        self.roles: dict[str, Role] = {}
        self._asked: set[tuple[str, Path, bool]] = set()
        self._read: set[tuple[str, str, bool]] = set()
        self.followed: dict[str, bool] = {}
        self.found: dict[int, Found] = {}
        self._known: object = None
        self._search = Search(
            self.notes,
            self.roles,
            places={"definition": self.home, **search},
            variables=variables,
            earlier=earlier,
            seal=seal,
        )

    def run(self, name: str, implied: Collection[str]) -> Role:
        """Read the role *name* and everything it leads to, the variables *implied* too."""
        self.notes.words.update(implied)
        main = self._add_role(name, self._resolve(name, None))
        while True:
            before = (self.notes.size(), len(self._read), len(self.roles), len(self._asked))
            delimiters = self.notes.delimiters
            self._follow_variables(main)
            self._follow_references()
            if delimiters != self.notes.delimiters:
                self._read_templates_again()
            after = (self.notes.size(), len(self._read), len(self.roles), len(self._asked))
            if before == after:
                return main

    # Roles and their texts -------------------------------------------------------------------

    def _add_role(self, name: str, path: Path) -> Role:
        path = Path(os.path.abspath(path))
        for known in self.roles.values():
            if known.path == path:
                return known
        if not path.is_dir():
            raise DriverError(f"The role {name} is not a directory: {path}.")
        label = path.name if "/" in name else name
        number = 2
        while label in self.roles:
            label = f"{label.partition('#')[0]}#{number}"
            number += 1
        entries = walk(path, excludes=role_excludes, keeps=lambda one: not one.startswith("files/"))
        role = Role(label, path, {entry.path: entry for entry in entries})
        self.roles[label] = role
        if name.count(".") > 1 and "/" not in name:
            self.notes.collections.add(name.rpartition(".")[0])
        for entry in entries:
            binary = b"\0" in (entry.content or b"") and not entry.path.startswith("templates/")
            if entry.content is not None and not binary:
                self._read_role_file(role, entry.path, Path(entry.location), entry.content)
        return role

    def _read_role_file(self, role: Role, path: str, location: Path, content: bytes) -> None:
        top = path.partition("/")[0]
        suffix = os.path.splitext(path)[1]
        text = content.decode("utf-8", "surrogateescape")
        source = Source(location, role, text, template=top == "templates")
        if top in ("tasks", "handlers") and suffix in _YAML:
            self._once(source, Reads.TASKS)
        elif top in ("defaults", "vars") and suffix in _YAML:
            self._once(source, Reads.VARIABLES)
        elif path in ("meta/main.yml", "meta/main.yaml", "meta/main"):
            self._reader.meta(source)
        elif suffix == ".py" or top == "meta":
            self._reader.words(source)
        else:
            self._once(source, Reads.TEMPLATE)

    def _once(self, source: Source, reads: Reads) -> None:
        key = (str(source.path), reads.value, source.secret)
        if key in self._read:
            return
        self._read.add(key)
        if reads is Reads.TASKS:
            read_tasks(self._reader, source)
        elif reads is Reads.VARIABLES:
            self._reader.variables(source)
        elif reads is Reads.TEMPLATE:
            self._reader.template(self._reader.opened(source))

    def _read_templates_again(self) -> None:
        for path, reads, secret in sorted(self._read):
            if reads == Reads.TEMPLATE:
                with open(path, "rb") as stream:
                    text = stream.read().decode("utf-8", "surrogateescape")
                owner = max(
                    (one for one in self.roles.values() if Path(path).is_relative_to(one.path)),
                    key=lambda one: len(one.path.parts),
                    default=next(iter(self.roles.values())),
                )
                self._reader.template(Source(Path(path), owner, text, secret=secret, template=True))

    # Following -------------------------------------------------------------------------------

    def _follow_variables(self, main: Role) -> None:
        while True:
            tainted = self.notes.secret_words
            new = [
                name
                for name in self.notes.words & self._variables.keys()
                if self.followed.get(name) is None or (not self.followed[name] and name in tainted)
            ]
            if not new:
                return
            for name in sorted(new):
                variable = self._variables[name]
                secret = variable.secret or name in tainted
                self.followed[name] = secret
                origin = variable.origin or self.home / f"variable {name}"
                for text, template in texts(variable.value):
                    if template:
                        self._reader.value(text, Source(origin, main, text, variable.line, secret))

    def _follow_references(self) -> None:
        notes = self.notes
        known = (notes.size(), len(self.roles))
        for index, reference in enumerate(notes.references):
            if self._known == known and index in self.found:
                continue
            self.found[index] = found = self._search.follow(reference)
            for path, owner, reads in found.texts:
                known_text = (str(path), reads, reference.secret) in self._read
                if known_text or reads in (Reads.BYTES, Reads.SCRIPT):
                    continue
                with open(path, "rb") as stream:
                    text = stream.read().decode("utf-8", "surrogateescape")
                self._once(Source(path, owner, text, secret=reference.secret), reads)
            for name in found.roles:
                self._ask(name, reference)
        self._known = known

    def _ask(self, name: str, reference: Reference) -> None:
        source = reference.source
        asked = (name, source.role.path, reference.secret)
        if asked in self._asked:
            return
        self._asked.add(asked)
        try:
            role = self._add_role(name, self._resolve(name, source.role.path))
        except DriverError as error:
            reason = f"the role {name} cannot be read: {error.message}"
            self.notes.hazard(source, reference.line, reason)
            return
        if reference.secret:
            for entry in role.entries.values():
                content = (entry.content or b"").decode("utf-8", "surrogateescape")
                self.notes.secret_words |= identifiers(content)
