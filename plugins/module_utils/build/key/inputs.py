# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inputs of one layer, and the key made of them.

The analysis is syntactic. It takes the digest of every source text that can have a part in the
result: the files of the roles, the raw values of the variables whose names these texts mention,
followed through the names in those values, and the files outside that they name. What it cannot
follow it says, with file and line.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from ...core import canonical
from ...core.errors import DriverError
from .builtin_names import HOST_FACTS, IMAGE_FACTS, STEADY_NAMES
from .mentions import PLACES
from .model import LayerInputs, Resolve, Reveal, Uncacheable, Variable
from .modules import Reads
from .notes import Notes, Role, Source
from .ordering import order_matters
from .reading import Reader
from .search import Found, Outside, Search
from .task_rules import read_tasks
from .tree import describe, role_excludes, walk
from .values import NotPlain, Seal, has_order, orders, plain, texts

_YAML = (".yml", ".yaml", ".json", "")


def layer_inputs(
    role: str,
    *,
    definition_dir: Path,
    resolve: Resolve,
    variables: Mapping[str, Variable],
    declared: Sequence[str] | None,
    environment: Mapping[str, str],
    plugin_digest: Callable[[str], str],
    secret_key: bytes,
    search: Mapping[str, Path] | None = None,
    earlier: Collection[str] = (),
    reveal: Reveal | None = None,
) -> LayerInputs:
    """Return what a run of *role* depends on.

    :param definition_dir: where the image definition lies; paths in the manifest start from it.
    :param variables: every variable that the role may see, with the value that wins.
    :param declared: paths and globs that the definition declares as the layer's inputs,
        relative to it; None when it declares nothing.
    :param environment: environment variables of the controller, for the lookup ``env``.
    :param plugin_digest: gives the version or digest of what provides a plugin, named
        ``namespace.collection.name``; ``ansible.legacy.name`` for a short name.
    :param secret_key: key of the digests that stand for secrets.
    :param search: label -> directory where Ansible looks after the role; give the directory of
        the playbook as ``playbook``.
    :param earlier: names of the facts that earlier layers set.
    :param reveal: decrypts vault texts in role files; without it they make the layer uncacheable.
    :raises DriverError: the role does not exist, a file cannot be read, or a declared input
        names nothing.
    """
    survey = _Survey(
        definition_dir=definition_dir,
        resolve=resolve,
        variables=variables,
        environment=environment,
        seal=Seal(secret_key),
        search=search or {},
        earlier=earlier,
        reveal=reveal,
    )
    main = survey.run(role)
    return survey.result(main, declared, plugin_digest)


def layer_key(parent_key: str, inputs: LayerInputs, extra: Mapping[str, object]) -> str:
    """Return the key of a layer as ``sha256:HEX``.

    :param parent_key: key of the layer below, or of the base.
    :param extra: what the caller knows besides: versions, package lock, play keywords.
    """
    return canonical.digest(
        {"parent": parent_key, "inputs": inputs.manifest, "extra": plain(extra, None)}
    )


class _Survey:
    """Reads texts and follows what they name until nothing new turns up."""

    def __init__(
        self,
        *,
        definition_dir: Path,
        resolve: Resolve,
        variables: Mapping[str, Variable],
        environment: Mapping[str, str],
        seal: Seal,
        search: Mapping[str, Path],
        earlier: Collection[str],
        reveal: Reveal | None,
    ) -> None:
        self._definition_dir = Path(os.path.abspath(definition_dir))
        self._resolve = resolve
        self._variables = variables
        self._environment = environment
        self._seal = seal
        self._notes = Notes()
        self._reader = Reader(self._notes, reveal)
        self._roles: dict[str, Role] = {}
        self._asked: set[tuple[str, Path]] = set()
        self._read: set[tuple[str, str]] = set()
        self._followed: dict[str, bool] = {}
        self._found: dict[int, Found] = {}
        self._known: object = None
        self._search = Search(
            self._notes,
            self._roles,
            places={"definition": self._definition_dir, **search},
            variables=variables,
            earlier=earlier,
            seal=seal,
        )

    def run(self, name: str) -> Role:
        """Read the role *name* and everything it leads to."""
        main = self._add_role(name, self._resolve(name, None))
        while True:
            before = (self._notes.size(), len(self._read), len(self._roles), len(self._asked))
            delimiters = self._notes.delimiters
            self._follow_variables(main)
            self._follow_references()
            if delimiters != self._notes.delimiters:
                self._read_templates_again()
            after = (self._notes.size(), len(self._read), len(self._roles), len(self._asked))
            if before == after:
                return main

    # Roles and their texts -------------------------------------------------------------------

    def _add_role(self, name: str, path: Path) -> Role:
        path = Path(os.path.abspath(path))
        for known in self._roles.values():
            if known.path == path:
                return known
        if not path.is_dir():
            raise DriverError(f"The role {name} is not a directory: {path}.")
        label = path.name if "/" in name else name
        number = 2
        while label in self._roles:
            label = f"{label.partition('#')[0]}#{number}"
            number += 1
        entries = walk(path, excludes=role_excludes, keeps=lambda one: not one.startswith("files/"))
        role = Role(label, path, {entry.path: entry for entry in entries})
        self._roles[label] = role
        for entry in entries:
            if entry.content is not None and b"\0" not in entry.content:
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
        if (str(source.path), reads) in self._read:
            return
        self._read.add((str(source.path), reads))
        if reads is Reads.TASKS:
            read_tasks(self._reader, source)
        elif reads is Reads.VARIABLES:
            self._reader.variables(source)
        elif reads is Reads.TEMPLATE:
            self._reader.template(self._reader.opened(source))

    def _read_templates_again(self) -> None:
        for path, reads in sorted(self._read):
            if reads == Reads.TEMPLATE:
                with open(path, "rb") as stream:
                    text = stream.read().decode("utf-8", "surrogateescape")
                owner = max(
                    (one for one in self._roles.values() if Path(path).is_relative_to(one.path)),
                    key=lambda one: len(one.path.parts),
                    default=next(iter(self._roles.values())),
                )
                self._reader.template(Source(Path(path), owner, text, template=True))

    # Following -------------------------------------------------------------------------------

    def _follow_variables(self, main: Role) -> None:
        while True:
            tainted = self._notes.secret_words
            new = [
                name
                for name in self._notes.words & self._variables.keys()
                if self._followed.get(name) is None
                or (not self._followed[name] and name in tainted)
            ]
            if not new:
                return
            for name in sorted(new):
                variable = self._variables[name]
                secret = variable.secret or name in tainted
                self._followed[name] = secret
                origin = variable.origin or self._definition_dir / f"variable {name}"
                for text, template in texts(variable.value):
                    if template:
                        self._reader.value(text, Source(origin, main, text, variable.line, secret))

    def _follow_references(self) -> None:
        notes = self._notes
        known = (notes.size(), len(self._roles))
        for index, reference in enumerate(notes.references):
            if self._known == known and index in self._found:
                continue
            self._found[index] = found = self._search.follow(reference)
            for path, owner, reads in found.texts:
                if (str(path), reads) in self._read or reads in (Reads.BYTES, Reads.SCRIPT):
                    continue
                with open(path, "rb") as stream:
                    text = stream.read().decode("utf-8", "surrogateescape")
                self._once(Source(path, owner, text, secret=reference.secret), reads)
            for name in found.roles:
                self._ask(name, reference.source, reference.line)
        self._known = known

    def _ask(self, name: str, source: Source, line: int) -> None:
        asked = (name, source.role.path)
        if asked in self._asked:
            return
        self._asked.add(asked)
        try:
            self._add_role(name, self._resolve(name, source.role.path))
        except DriverError as error:
            self._notes.hazard(source, line, f"the role {name} cannot be read: {error.message}")

    # The result ------------------------------------------------------------------------------

    def result(
        self, main: Role, declared: Sequence[str] | None, plugin_digest: Callable[[str], str]
    ) -> LayerInputs:
        """Put together what was found."""
        notes = self._notes
        exact = notes.keeps_modes or "preserve" in notes.words
        facts = self._mentions()
        reasons = {Uncacheable(path, line, reason) for path, line, reason in notes.hazards}
        outside: dict[str, str] = {}
        read: dict[str, str | None] = {}
        for index, found in self._found.items():
            reference = notes.references[index]
            reasons |= {
                Uncacheable(reference.source.path, reference.line, reason)
                for reason in found.hazards
            }
            for label, tree in found.outside.items():
                self._tell(label, tree, outside, exact=exact)
            for name, secret in found.environment:
                value = self._environment.get(name)
                hidden = secret or str(read.get(name) or "").startswith("hmac-sha256:")
                read[name] = self._seal(value) if hidden else value
        variables, order = self._values(reasons, facts)
        manifest: dict[str, object] = {
            "role": main.label,
            "modes": "exact" if exact else "executable bit",
            "files": describe(tuple(main.entries.values()), exact_modes=exact),
            "roles": {
                one.label: describe(tuple(one.entries.values()), exact_modes=exact)
                for one in self._roles.values()
                if one is not main
            },
            "variables": variables,
            "order": order,
            "environment": read,
            "plugins": self._plugins(plugin_digest, reasons),
            "outside": outside,
        }
        if declared is not None:
            manifest["declared"] = self._declared(declared, exact=exact)
        return LayerInputs(
            manifest=manifest,
            uncacheable=tuple(
                sorted(reasons, key=lambda one: (str(one.path), one.line, one.reason))
            ),
            accepted=declared is not None,
        )

    def _tell(
        self, label: str, tree: Outside | None, outside: dict[str, str], *, exact: bool
    ) -> None:
        if tree is None:
            outside.setdefault(label, "absent")
            return
        single = len(tree.entries) == 1 and "/" not in tree.entries[0].path
        whole = single and tree.entries[0].kind == "file"
        for path, words in describe(tree.entries, exact_modes=exact).items():
            name = label if whole or path == "." else f"{label}/{path}"
            if tree.secret:
                outside[name] = self._seal(words)
            elif not outside.get(name, "").startswith("hmac-sha256:"):
                outside[name] = words

    def _mentions(self) -> set[str]:
        """Judge the names that Ansible gives values to; return the facts that were given."""
        given: set[str] = set()
        facts = self._variables.get("ansible_facts")
        known = facts.value if facts is not None and isinstance(facts.value, Mapping) else {}
        for name, (path, line) in self._notes.mentions.items():
            fact = name.partition(".")[2] or name.removeprefix("ansible_")
            reason = ""
            if fact in HOST_FACTS:
                reason = f"{name} is a fact of the machine that bakes, not of the image"
            elif name.startswith("ansible_facts."):
                if fact in known:
                    given.add(fact)
                elif fact not in IMAGE_FACTS and f"ansible_{fact}" not in self._variables:
                    reason = f"{name} is a fact that is not among the variables given"
                elif f"ansible_{fact}" in self._variables:
                    self._followed.setdefault(f"ansible_{fact}", False)
            elif not (
                name in self._variables
                or name in STEADY_NAMES
                or fact in IMAGE_FACTS
                or self._notes.values_of(name)
                or name in self._notes.loops
            ):
                reason = f"{name} is not among the variables given"
            if reason:
                self._notes.hazards[path, line, reason] = None
        return given

    def _values(
        self, reasons: set[Uncacheable], facts: set[str]
    ) -> tuple[dict[str, object], dict[str, str]]:
        values: dict[str, object] = {}
        order: dict[str, str] = {}
        joined = ""
        for name, secret in sorted(self._followed.items()):
            if name in PLACES or name == "ansible_facts":
                continue
            variable = self._variables[name]
            try:
                values[name] = (
                    {"!secret": self._seal(plain(variable.value, None))}
                    if secret
                    else plain(variable.value, self._seal)
                )
                if has_order(variable.value):
                    joined = joined or "\n".join(self._notes.texts)
                    if order_matters(name, variable.value, joined):
                        whole = orders(variable.value, self._seal)
                        order[name] = self._seal(whole) if secret else canonical.digest(whole)
            except NotPlain as error:
                origin = variable.origin or self._definition_dir / f"variable {name}"
                reason = f"the variable {name} holds {error}, which has no digest"
                reasons.add(Uncacheable(origin, variable.line, reason))
        if facts:
            known = self._variables["ansible_facts"].value
            if isinstance(known, Mapping):
                for fact in sorted(facts):
                    values[f"ansible_facts.{fact}"] = plain(known[fact], self._seal)
        return values, order

    def _plugins(
        self, plugin_digest: Callable[[str], str], reasons: set[Uncacheable]
    ) -> dict[str, str]:
        digests: dict[str, str] = {}
        places = dict(self._notes.plugins)
        for collection in self._notes.collections - {"ansible.builtin", "ansible.legacy"}:
            for name, place in self._notes.plugins.items():
                if name.startswith("ansible.legacy."):
                    places[f"{collection}.{name.rpartition('.')[2]}"] = place
        for name, (path, line) in sorted(places.items()):
            try:
                digests[name] = plugin_digest(name)
            except DriverError as error:
                reason = f"the plugin {name} cannot be found: {error.message}"
                reasons.add(Uncacheable(path, line, reason))
        return digests

    def _declared(self, declared: Sequence[str], *, exact: bool) -> dict[str, object]:
        result: dict[str, object] = {}
        for pattern in declared:
            found: dict[str, str] = {}
            for path in sorted(glob.glob(pattern, root_dir=self._definition_dir, recursive=True)):
                whole = self._definition_dir / path
                for name, words in describe(walk(whole), exact_modes=exact).items():
                    found[path if not whole.is_dir() else os.path.join(path, name)] = words
            if not found:
                raise DriverError(
                    f"The declared input {pattern} names nothing in {self._definition_dir}.",
                    hint="Correct the path under inputs in the definition, or take it out.",
                )
            result[pattern] = found
        return result
