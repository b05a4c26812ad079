# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files of a layer tell: packages, licences, owners, units, secrets. Found out once."""

from __future__ import annotations

import contextlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..core import canonical
from ..core.files import write_whole
from ..oci.layer import Layer
from ..oci.layout import Layout
from ..oci.listing import EntryType, LayerEntry, list_layer, listing_path
from ..oci.tree import Tree, merge
from . import secrets
from .packages import Package, installed_packages, licences_of
from .secrets import SecretFound, find_secrets

STATUS = "var/lib/dpkg/status"
_FORM = [1, secrets.FORM]
_KEPT = re.compile(
    r"var/lib/dpkg/(status|diversions|info/[^/]+\.list)"
    r"|(usr/lib|lib|etc)/systemd/system/([^/]+\.d/)?[^/]+\.(service|socket|conf)"
    r"|etc/(passwd|group|apt/sources\.list(\.d/[^/]+\.(list|sources))?)"
)
_COPYRIGHT = re.compile(r"usr/share/doc/([^/]+)/copyright")


@dataclass(frozen=True, slots=True)
class Examination:
    """What one layer's files tell.

    :param texts: content of the files that say what a system is, by path, as latin-1.
    :param licences: by package.
    """

    entries: Sequence[LayerEntry]
    texts: Mapping[str, str]
    licences: Mapping[str, tuple[str, ...]]
    secrets: tuple[SecretFound, ...]


def examine_layer(layout: Layout, layer: Layer) -> Examination:
    """Return what *layer*'s files tell; read once, and kept with its listing."""
    path = listing_path(layout, layer.diff_id)
    record = path.with_name(path.name + ".examined")
    kept = _read_kept(record)
    if kept is not None:
        return Examination(list_layer(layout, layer), *kept)
    texts: dict[str, str] = {}
    licences: dict[str, tuple[str, ...]] = {}
    found: list[SecretFound] = []

    def watch(entry: LayerEntry, content: bytes) -> None:
        if _KEPT.fullmatch(entry.path):
            texts[entry.path] = content.decode("latin-1")
        elif (match := _COPYRIGHT.fullmatch(entry.path)) is not None:
            licences[match[1]] = licences_of(content.decode("utf-8", "replace"))
        found.extend(find_secrets(entry.path, content))

    entries = list_layer(layout, layer, watch)
    document = {
        "form": _FORM,
        "texts": texts,
        "licences": licences,
        "secrets": [[one.path, one.rule, one.line] for one in found],
    }
    # An aid only, as the listing is.
    with contextlib.suppress(OSError):
        write_whole(record, zlib.compress(canonical.encode(document), 1))
    return Examination(entries, texts, licences, tuple(found))


def _read_kept(record: Path) -> tuple[Any, ...] | None:
    try:
        text = zlib.decompress(record.read_bytes()).decode("utf-8", "surrogateescape")
        value = json.loads(text)
        if value["form"] != _FORM:
            return None
        licences = {name: tuple(found) for name, found in value["licences"].items()}
        return value["texts"], licences, tuple(SecretFound(*one) for one in value["secrets"])
    except (OSError, zlib.error, ValueError, LookupError, TypeError, AttributeError):
        return None


@dataclass(frozen=True)
class Root:
    """A finished root as trust sees it: the tree, and what each layer's files tell."""

    tree: Tree
    layers: tuple[Examination, ...]

    def text(self, path: str) -> str:
        """The content of one of the files that examinations keep, empty when it is not there."""
        entry = self.tree.resolve(path)
        if entry is None or entry.type is not EntryType.FILE:
            return ""
        return self.layers[entry.layer].texts.get(entry.link or entry.path, "")

    def texts(self, pattern: str) -> dict[str, str]:
        """Return those of the kept files whose whole path matches *pattern*, by path."""
        form = re.compile(pattern)
        return {
            path: text
            for index, layer in enumerate(self.layers)
            for path, text in layer.texts.items()
            if form.fullmatch(path)
            and (entry := self.tree.entries.get(path)) is not None
            and entry.layer == index
        }

    @cached_property
    def packages(self) -> tuple[Package, ...]:
        """The installed packages, each with the layer that brought it in its present version."""
        from dataclasses import replace

        status = self.text(STATUS).encode("latin-1").decode("utf-8", "replace")
        brought: dict[tuple[str, str, str], int] = {}
        for index, layer in enumerate(self.layers):
            if STATUS in layer.texts:
                own = layer.texts[STATUS]
                for package in installed_packages(own):
                    brought.setdefault((*package.identity, package.version), index)
        licences: dict[str, tuple[str, ...]] = {}
        for layer in self.layers:
            licences.update(layer.licences)
        return tuple(
            replace(
                package,
                licences=licences.get(package.name, ()),
                layer=brought.get((*package.identity, package.version), 0),
            )
            for package in installed_packages(status)
        )

    @cached_property
    def owners(self) -> Mapping[str, str]:
        """The package that each path is of, for the paths that packages list."""
        found: dict[str, str] = {}
        prefix = len("var/lib/dpkg/info/")
        tops = self._aliases
        for path, text in self.texts(r"var/lib/dpkg/info/[^/]+\.list").items():
            package = path[prefix:].removesuffix(".list").partition(":")[0]
            for line in text.encode("latin-1").decode("utf-8", "surrogateescape").split("\n"):
                name = line[1:]
                top, slash, rest = name.partition("/")
                if top in tops:
                    name = tops[top] + slash + rest
                found[name] = package
        diverted = self.text("var/lib/dpkg/diversions").splitlines()
        for place, moved in zip(diverted[::3], diverted[1::3], strict=False):
            if place[1:] in found:
                found.setdefault(moved[1:], found[place[1:]])
        return found

    @property
    def _aliases(self) -> dict[str, str]:
        """The links at the top that merge ``/bin`` and its like into ``/usr``."""
        return {
            path: entry.link.strip("/")
            for path, entry in self.tree.entries.items()
            if "/" not in path and entry.type is EntryType.SYMLINK
        }


def examine(layout: Layout, layers: Sequence[Layer]) -> Root:
    """Examine the root that *layers* make; errors as for list_layer."""
    examined = tuple(examine_layer(layout, layer) for layer in layers)
    tree = Tree(layout, tuple(layers), merge(one.entries for one in examined))
    return Root(tree, examined)
