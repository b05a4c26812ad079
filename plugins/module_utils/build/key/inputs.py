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
from .members import asked_members
from .mentions import PLACES
from .model import LayerInputs, Resolve, Reveal, Uncacheable, Variable
from .notes import Role
from .ordering import order_matters
from .search import Outside
from .survey import Survey
from .tree import describe, walk
from .values import NotPlain, Seal, has_order, orders, plain, texts


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
    implied: Collection[str] = (),
    by_member: Collection[str] = (),
    asked: Collection[str] = (),
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
    :param implied: names of variables that count although no text mentions them, such as those
        that an action plugin reads by itself.
    :param by_member: names of mappings of which only the members count that the role asks for.
    :param asked: words, such as tags, of which the result is to say whether the layer has them.
    :param reveal: decrypts vault texts in role files; without it they make the layer uncacheable.
    :raises DriverError: the role does not exist, a file cannot be read, or a declared input
        names nothing.
    """
    seal = Seal(secret_key)
    survey = Survey(
        definition_dir=definition_dir,
        resolve=resolve,
        variables=variables,
        seal=seal,
        search=search or {},
        earlier=earlier,
        reveal=reveal,
    )
    main = survey.run(role, implied)
    told = _Manifest(survey, variables, environment, seal, frozenset(by_member) - {*implied})
    return told.result(main, declared, plugin_digest, asked)


def layer_key(parent_key: str, inputs: LayerInputs, extra: Mapping[str, object]) -> str:
    """Return the key of a layer as ``sha256:HEX``.

    :param parent_key: key of the layer below, or of the base.
    :param extra: what the caller knows besides: versions, package lock, play keywords.
    """
    return canonical.digest(
        {"parent": parent_key, "inputs": inputs.manifest, "extra": plain(extra, None)}
    )


class _Manifest:
    """Tells what a survey found in words that can be kept and compared."""

    def __init__(
        self,
        survey: Survey,
        variables: Mapping[str, Variable],
        environment: Mapping[str, str],
        seal: Seal,
        by_member: Collection[str],
    ) -> None:
        self._by_member = by_member
        self._survey = survey
        self._variables = variables
        self._environment = environment
        self._seal = seal

    def result(
        self,
        main: Role,
        declared: Sequence[str] | None,
        plugin_digest: Callable[[str], str],
        asked: Collection[str],
    ) -> LayerInputs:
        """Put together what was found."""
        notes = self._survey.notes
        exact = notes.keeps_modes or "preserve" in notes.words
        facts = self._mentions()
        reasons = {Uncacheable(path, line, reason) for path, line, reason in notes.hazards}
        outside: dict[str, str] = {}
        hidden: dict[str, bool] = {}
        for index, found in self._survey.found.items():
            reference = notes.references[index]
            reasons |= {
                Uncacheable(reference.source.path, reference.line, reason)
                for reason in found.hazards
            }
            for label, tree in found.outside.items():
                self._tell(label, tree, outside, exact=exact)
            for name, secret in found.environment:
                hidden.setdefault(name, False)
                hidden[name] = hidden[name] or secret
        read = {
            name: self._seal(self._environment.get(name)) if secret else self._environment.get(name)
            for name, secret in hidden.items()
        }
        variables, order = self._values(reasons, facts)
        manifest: dict[str, object] = {
            "role": main.label,
            "modes": "exact" if exact else "executable bit",
            "files": describe(tuple(main.entries.values()), exact_modes=exact),
            "roles": {
                one.label: describe(tuple(one.entries.values()), exact_modes=exact)
                for one in self._survey.roles.values()
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
            facts=self._facts(),
            mentioned=frozenset(filter(self._has, asked)),
        )

    def _has(self, word: str) -> bool:
        """Whether *word* stands in a text, or in a value that a text may put anywhere."""
        notes = self._survey.notes
        return (
            word in notes.words
            or any(word in text for text in notes.texts)
            or any(
                word in text
                for name in self._survey.followed
                for text, _template in texts(self._variables[name].value)
            )
        )

    def _facts(self) -> frozenset[str]:
        """Names that keep a value after the layer; include_vars may give one to any it read."""
        if self._survey.notes.loads_variables:
            self._survey.notes.values_of("")
            return frozenset(self._survey.notes.definitions) | self._survey.notes.facts
        return frozenset(self._survey.notes.facts)

    def _tell(
        self, label: str, tree: Outside | None, outside: dict[str, str], *, exact: bool
    ) -> None:
        if tree is None:
            outside.setdefault(label, "absent")
            return
        for path, words in describe(tree.entries, exact_modes=exact).items():
            name = label if path in ("", ".") else f"{label}/{path}"
            if tree.secret:
                outside[name] = self._seal(words)
            elif not outside.get(name, "").startswith("hmac-sha256:"):
                outside[name] = words

    def _mentions(self) -> set[str]:
        """Judge the names that Ansible gives values to; return the facts that were given."""
        given: set[str] = set()
        facts = self._variables.get("ansible_facts")
        known = facts.value if facts is not None and isinstance(facts.value, Mapping) else {}
        for name, (path, line) in self._survey.notes.mentions.items():
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
                    self._survey.followed.setdefault(f"ansible_{fact}", False)
            elif not (
                name in self._variables
                or name in STEADY_NAMES
                or fact in IMAGE_FACTS
                or self._survey.notes.values_of(name)
                or name in self._survey.notes.loops
            ):
                reason = f"{name} is not among the variables given"
            if reason:
                self._survey.notes.hazards[path, line, reason] = None
        return given

    def _values(
        self, reasons: set[Uncacheable], facts: set[str]
    ) -> tuple[dict[str, object], dict[str, str]]:
        values: dict[str, object] = {}
        order: dict[str, str] = {}
        joined = ""
        for name, secret in sorted(self._survey.followed.items()):
            if name in PLACES or name == "ansible_facts":
                continue
            variable = self._variables[name]
            value = variable.value
            if name in self._by_member:
                notes = self._survey.notes
                value = asked_members(name, value, [*notes.texts, *notes.data])
            try:
                values[name] = (
                    {"!secret": self._seal(plain(value, None))}
                    if secret
                    else plain(value, self._seal)
                )
                if has_order(value):
                    joined = joined or "\n".join(self._survey.notes.texts)
                    if order_matters(name, value, joined):
                        whole = orders(value, self._seal)
                        order[name] = self._seal(whole) if secret else canonical.digest(whole)
            except NotPlain as error:
                origin = variable.origin or self._survey.home / f"variable {name}"
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
        places = dict(self._survey.notes.plugins)
        for collection in self._survey.notes.collections - {"ansible.builtin", "ansible.legacy"}:
            for name, place in self._survey.notes.plugins.items():
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
            for path in sorted(glob.glob(pattern, root_dir=self._survey.home, recursive=True)):
                whole = self._survey.home / path
                for name, words in describe(walk(whole), exact_modes=exact).items():
                    found[path if not whole.is_dir() else os.path.join(path, name)] = words
            if not found:
                raise DriverError(
                    f"The declared input {pattern} names nothing in {self._survey.home}.",
                    hint="Correct the path under inputs in the definition, or take it out.",
                )
            result[pattern] = found
        return result
