# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The four kinds of base that a definition may begin from, and what each must say."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from ..core.grammar import DIGEST, DIGEST_WANTS, NAME, NAME_WANTS
from ..core.yaml_fields import Field, Section, alternatives
from ..core.yaml_source import Source
from .definition_model import Archive, Base, Debootstrap, Parent, Registry

SUITES = ("bookworm", "trixie")
VARIANTS = (
    "extract",
    "custom",
    "essential",
    "apt",
    "required",
    "minbase",
    "buildd",
    "important",
    "debootstrap",
    "standard",
)
EXPIRED = ("refuse", "accept")
_REFERENCE = r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[\w][\w.-]{0,127})?"


def read_base(top: Section, source: Source) -> Base | None:
    """Return the one base of a definition; None when it has a problem."""
    kinds = tuple(_BASES)
    field = top.require("base", f"it must hold one of {alternatives(kinds)}")
    if field is None:
        return None
    section = field.section("{debootstrap: {suite: bookworm}}")
    given = [(kind, found) for kind in kinds if (found := section.get(kind)) is not None]
    section.close()
    if len(given) > 1:
        names = " and ".join(kind for kind, _found in given)
        field.complain(f"has {names}; an image has exactly one base, keep one of them")
    elif section.empty:
        field.complain(f"is empty; it must hold one of {alternatives(kinds)}")
    bases = [_BASES[kind](found, source) for kind, found in given]
    return bases[0] if bases else None


def _debootstrap(field: Field, source: Source) -> Base | None:
    section = field.section("{suite: bookworm}")
    if (wanted := section.require("suite", f"it must be {alternatives(SUITES)}")) is not None:
        suite = wanted.choice(SUITES)
    else:
        suite = None
    if (wanted := section.get("mirror")) is not None:
        mirror = wanted.match(
            r"(https?://[^\s/]+|file:///|copy:///)\S*",
            "it must be a URL that begins with http://, https://, file:/// or copy:///",
        )
    else:
        mirror = None
    components: tuple[str, ...] = ("main",)
    if (wanted := section.get("components")) is not None:
        components = wanted.each(
            "[main]",
            lambda item: item.match(
                r"[a-z0-9][a-z0-9/-]*", "a component is a name such as main or contrib"
            ),
        )
        if not wanted.node.value:
            wanted.complain("is empty; give at least main, or leave the key out")
    variant = wanted.choice(VARIANTS) if (wanted := section.get("variant")) else "minbase"
    include: tuple[str, ...] = ()
    if (wanted := section.get("include")) is not None:
        include = wanted.each(
            "[ca-certificates]",
            lambda item: item.match(
                r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?(=[\w.+:~-]+)?", "it must be a package's name"
            ),
        )
    keyring = _path_beside(section.get("keyring"), source)
    expired = wanted.choice(EXPIRED) if (wanted := section.get("expired")) else "refuse"
    section.close()
    if suite is None or variant is None or expired is None:
        return None
    return Debootstrap(suite, mirror, components, variant, include, keyring, expired)


def _registry(field: Field, _source: Source) -> Base | None:
    section = field.section('{image: "registry.example.org/debian@sha256:HEX"}')
    found = section.require("image", "it must be a reference such as NAME@sha256:HEX")
    section.close()
    value = found.text("a reference such as NAME@sha256:HEX") if found is not None else None
    if found is None or value is None:
        return None
    name, at, digest = value.partition("@")
    if re.fullmatch(_REFERENCE, name) is None:
        found.complain(
            f"is {value}; it must name its registry, such as registry.example.org/debian@sha256:HEX"
        )
    elif not at:
        bare = re.sub(r":[^/:]*$", "", name)
        found.complain(
            f"is {value}, which can become another image; write {bare}@ and the digest that "
            f"`skopeo inspect --format {{{{.Digest}}}} docker://{value}` prints"
        )
    elif re.fullmatch(DIGEST, digest) is None:
        found.complain(f"has the digest {digest or 'nothing'}; {DIGEST_WANTS}")
    else:
        return Registry(value)
    return None


def _archive(field: Field, source: Source) -> Base | None:
    section = field.section('{path: rootfs.tar, digest: "sha256:HEX"}')
    path = _path_beside(
        section.require("path", "it must be a root filesystem's tar or an OCI layout"), source
    )
    found = section.require(
        "digest", "write the sha256: digest of the tar, or of the manifest in the OCI layout"
    )
    digest = found.match(DIGEST, DIGEST_WANTS) if found is not None else None
    section.close()
    return Archive(path, digest) if path is not None and digest is not None else None


def _parent(field: Field, _source: Source) -> Base | None:
    found: Field | None = field
    if not field.is_text:
        section = field.section("{name: other}")
        found = section.require("name", "it must be the name of another definition")
        section.close()
    name = found.match(NAME, NAME_WANTS) if found is not None else None
    return Parent(name, field.line) if name is not None else None


_BASES: dict[str, Callable[[Field, Source], Base | None]] = {
    Debootstrap.kind: _debootstrap,
    Registry.kind: _registry,
    Archive.kind: _archive,
    Parent.kind: _parent,
}


def _path_beside(field: Field | None, source: Source) -> Path | None:
    value = field.text("a path") if field is not None else None
    return None if value is None else beside(value, source)


def beside(value: str, source: Source) -> Path:
    """Return the absolute path of *value*, which starts from the definition's directory."""
    return Path(os.path.normpath(source.path.parent / value))
