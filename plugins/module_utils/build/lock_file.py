# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks as files: ``NAME.lock.yml`` beside the definition, one line for each fact of a package."""

from __future__ import annotations

import json
import re
from typing import Any

from ..core.errors import DriverError
from ..core.grammar import DIGEST, DIGEST_WANTS
from ..core.yaml_fields import Field, Section
from ..core.yaml_source import Problems, read_source
from .definition_model import Definition
from .lock import Installed, Lock, LockedBase, Package
from .lock_state import FORMAT, lock_path, shown_lock_path, unreadable

_HEAD = """\
# What {name} is made from, written by kiln.immutable.refresh; commit it beside the definition.
# A bake installs exactly these packages, or stops.
"""
_NAME = r"[a-z0-9][a-z0-9+.-]+"
_VERSION = r"[A-Za-z0-9.+:~-]+"
_KINDS = ("debootstrap", "registry", "archive", "image")


def read_lock(definition: Definition) -> Lock | None:
    """Return the lock of *definition*, None when there is none.

    Raises one DriverError with a line ``FILE:LINE: SENTENCE`` for each thing that is wrong.
    """
    path, shown = lock_path(definition), shown_lock_path(definition)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(definition, error) from error
    if not re.sub(rb"(?m)^\s*(#.*)?$", b"", content).strip():
        raise DriverError(
            f"{shown}:1: the lock is empty; make it with kiln.immutable.refresh, or delete it."
        )
    source = read_source(path, shown)
    top = Field(source.root, "", 1, source.problems).section("")
    lock = _read(top, source.problems)
    top.close()
    if source.problems or lock is None:
        raise source.problems.error()
    return lock


def _read(top: Section, problems: Problems) -> Lock | None:
    _format(top)
    architecture = _text(top, "architecture", _NAME, "it must be a Debian architecture")
    suite = _text(top, "suite", r"[a-z0-9.-]*", "it must be the name of a Debian release")
    security: tuple[str, ...] = ()
    if (found := top.get("security")) is not None:
        security = found.each(
            '["deb URL SUITE main"]',
            lambda item: item.match(r"deb (\[[^\]]*\] )?\S+ \S+( \S+)+", "it must be a source"),
        )
    base = LockedBase("")
    if (found := top.require("base", "it must say what the base is")) is not None:
        base = _base(found)
    layers: dict[str, tuple[Package, ...]] = {}
    if (found := top.get("layers")) is not None:
        for name, packages in found.entries(r".+", "it must be a layer's name", "{nginx: []}"):
            layers[name] = _packages(packages)
    found = top.get("toolkit")
    toolkit = _packages(found) if found is not None else ()
    if problems:
        return None
    return Lock(architecture, suite, base, security, layers, toolkit)


def _format(top: Section) -> None:
    found = top.require("lock", f"this lock has no format; it must be {FORMAT}")
    number = found.count(1) if found is not None else None
    if found is not None and number is not None and number != FORMAT:
        found.complain(f"is {number}; this release reads format {FORMAT}, so refresh the lock")


def _text(section: Section, name: str, pattern: str, wants: str) -> str:
    found = section.require(name, wants)
    return (found.match(pattern, wants) or "") if found is not None else ""


def _base(field: Field) -> LockedBase:
    section = field.section("{kind: debootstrap}")
    found = section.require("kind", "it must be the kind of the definition's base")
    kind = (found.choice(_KINDS) or "") if found is not None else ""
    found = section.get("digest")
    digest = (found.match(DIGEST, DIGEST_WANTS) or "") if found is not None else ""
    found = section.get("epoch")
    epoch = (found.count(0) or 0) if found is not None else 0
    found = section.get("sources")
    sources = (found.text("the image's sources.list") or "") if found is not None else ""
    found = section.get("packages")
    packages = _packages(found) if found is not None else ()
    section.close()
    return LockedBase(kind, digest, epoch, sources, packages)


def _packages(field: Field) -> tuple[Package, ...]:
    return tuple(
        package
        for item in field.items("[{name: nginx, version: 1.22.1-9}]")
        if (package := _package(item)) is not None
    )


def _package(field: Field) -> Package | None:
    section = field.section("{name: nginx, version: 1.22.1-9, architecture: amd64}")
    name = _text(section, "name", _NAME, "it must be a package's name")
    version = _text(section, "version", _VERSION, "it must be a package's version")
    architecture = _text(section, "architecture", _NAME, "it must be all or an architecture")
    found = section.get("sha256")
    wants = "it must be the 64 hex digits of the package's SHA-256"
    sha256 = (found.match(r"[0-9a-f]{64}", wants) or "") if found is not None else ""
    found = section.get("size")
    size = (found.count(1) or 0) if found is not None else 0
    given = {}
    for key in ("suite", "priority", "url"):
        found = section.get(key)
        given[key] = (found.match(r"\S+", "it must not hold spaces") or "") if found else ""
    if given["url"] and not sha256 and name:
        field.complain(f"is {name}, which has a url and no sha256; refresh the lock")
    section.close()
    if not (name and version and architecture):
        return None
    return Package(Installed(name, version, architecture), sha256, size, **given)


def render_lock(name: str, lock: Lock) -> str:
    """Return the text of the lock of the image *name*; read_lock gives the same lock again."""
    lines = [
        _HEAD.format(name=name).rstrip("\n"),
        "---",
        f"lock: {FORMAT}",
        f"architecture: {_scalar(lock.architecture)}",
        f"suite: {_scalar(lock.suite)}",
    ]
    if lock.security:
        lines += ["security:", *(f"  - {_scalar(source)}" for source in lock.security)]
    base = lock.base
    lines += ["base:", f"  kind: {base.kind}"]
    lines += [f"  digest: {base.digest}"] if base.digest else []
    lines += [f"  epoch: {base.epoch}"] if base.epoch else []
    if base.sources:
        lines += [f"  sources: {json.dumps(base.sources)}"]
    lines += _rendered("  ", "packages", base.packages) if base.packages else []
    lines += ["layers:"] if lock.layers else ["layers: {}"]
    for layer, packages in lock.layers.items():
        lines += _rendered("  ", layer, packages)
    lines += _rendered("", "toolkit", lock.toolkit) if lock.toolkit else []
    return "\n".join(lines) + "\n"


def _rendered(indent: str, key: str, packages: tuple[Package, ...]) -> list[str]:
    if not packages:
        return [f"{indent}{_scalar(key)}: []"]
    lines = [f"{indent}{_scalar(key)}:"]
    for package in packages:
        facts = [f"{name}: {_scalar(value)}" for name, value in package.as_json().items()]
        lines.append(f"{indent}  - {facts[0]}")
        lines += [f"{indent}    {fact}" for fact in facts[1:]]
    return lines


_PLAIN = re.compile(r"[a-z][a-z0-9-]*")
_NOT_TEXT = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def _scalar(value: Any) -> str:
    """Return *value* in YAML: words as they are, everything else that is text in quotes."""
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text not in _NOT_TEXT:
        return text
    return json.dumps(text, ensure_ascii=False)
