# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contents of a version for a comparison, and the changelogs of what was upgraded."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.difference import (
    Changed,
    Contents,
    Difference,
    LayerSize,
    config_settings,
    flat,
    headlines,
)
from ..module_utils.catalog.version import Version
from ..module_utils.core.errors import DriverError
from ..module_utils.oci.descriptor import INDEX, Descriptor
from ..module_utils.oci.image import Image, read_image
from ..module_utils.oci.predicates import EXPOSURE, HARDENING, SECRETS, TEST_RESULT, VULNERABILITIES
from ..module_utils.oci.statement import read_statement
from ..module_utils.oci.tree import Tree
from ..module_utils.trust.attachments import read_attached, read_envelopes
from ..module_utils.trust.examination import examine

_CHECKS = {
    HARDENING: ("hardening", ("profile", "score", "failed")),
    TEST_RESULT: ("tests", ("result", "passedTests", "failedTests")),
    VULNERABILITIES: ("security updates", ("status", "fixable", "packages")),
    SECRETS: ("secrets", ("found",)),
    EXPOSURE: ("exposure", ("counts",)),
}


def read_contents(shop: Workshop, version: Version) -> tuple[Contents, Tree]:
    """Read what *version* consists of; DriverError when the store has not all of it."""
    layout = shop.layout
    if not layout.has(version.index):
        raise DriverError(
            f"{version.image} {version.number} is not in this home's store.",
            hint="Pull it: kiln.immutable.image_pull.",
        )
    size = layout.path(version.index).stat().st_size
    image = read_image(layout, Descriptor(INDEX, version.index, size))
    root = examine(layout, image.layers)
    document = json.loads(layout.read(image.config))
    contents = Contents(
        packages={f"{one.name}:{one.architecture}": one.version for one in root.packages},
        files=root.tree.entries,
        layers=_layers(image, document),
        config=config_settings(document),
        checks=_checks(shop, image),
    )
    return contents, root.tree


def _layers(image: Image, document: dict[str, Any]) -> list[LayerSize]:
    steps = [
        str(event.get("created_by", "")).removeprefix("kiln: ")
        for event in document.get("history") or []
        if not event.get("empty_layer")
    ]
    names = [*steps, *(f"layer {at}" for at in range(len(steps) + 1, len(image.layers) + 1))]
    pairs = zip(names, image.layers, strict=False)
    return [LayerSize(name, layer.diff_id, layer.size) for name, layer in pairs]


def _checks(shop: Workshop, image: Image) -> dict[str, str]:
    """Return what statements say of the image. It is shown, not relied on: none is verified."""
    statements = []
    for digest in (image.index.digest, image.manifest.digest):
        texts = [one.content for one in read_attached(shop.layout, digest, "statements")]
        texts += [one.payload for one in read_envelopes(shop.layout, digest)]
        for text in texts:
            with contextlib.suppress(DriverError):
                statements.append(read_statement(text).statement)
    found: dict[str, str] = {}
    for one in statements:
        if one.predicate_type in _CHECKS:
            name, keys = _CHECKS[one.predicate_type]
            found |= flat({key: one.predicate[key] for key in keys if key in one.predicate}, name)
    return found


def with_headlines(
    shop: Workshop, found: Difference, old: Version, new: Version, tree: Tree
) -> Difference:
    """Return *found* with what changelogs say of packages that were upgraded.

    Read from the new image where it kept its changelogs, else from the package in the pool.
    """
    upgraded = [one for one in found.packages if one.how == "upgraded"]
    names = {_doc(one): one for one in upgraded}
    kept = {
        path: names[path]
        for path in names
        if (entry := tree.resolve(path)) is not None and entry.digest is not None
    }
    changelogs: dict[str, str] = {}
    resolved = {entry.path: p for p in kept if (entry := tree.resolve(p)) is not None}
    for path, content in tree.read_files(resolved):
        with contextlib.suppress(OSError, EOFError):
            text = gzip.decompress(content).decode("utf-8", "replace")
            changelogs[kept[resolved[path]].name] = text
    hashes = _pool_hashes(shop, new, old)
    packages = []
    for one in found.packages:
        changelog = changelogs.get(one.name) or _from_pool(shop, one, hashes)
        if one.how == "upgraded" and changelog:
            lines = headlines(changelog, str(one.before), str(one.after))
            packages.append(replace(one, headlines=lines))
        else:
            packages.append(one)
    return replace(found, packages=tuple(packages))


def _doc(one: Changed) -> str:
    return f"usr/share/doc/{one.name.partition(':')[0]}/changelog.Debian.gz"


def _from_pool(shop: Workshop, one: Changed, hashes: dict[tuple[str, str], str]) -> str | None:
    if one.how != "upgraded":
        return None
    name = one.name.partition(":")[0]
    sha256 = hashes.get((name, str(one.after)))
    if sha256 is None or not shop.pool.has(sha256):
        return None
    from ..module_utils.build.deb_changelog import deb_changelog

    with shop.pool.in_use(), contextlib.suppress(OSError, ValueError):
        return deb_changelog(shop.pool.path(sha256), name)
    return None


def _pool_hashes(shop: Workshop, *versions: Version) -> dict[tuple[str, str], str]:
    """Return the hashes of packages, by name and version, that the locks of *versions* name."""
    found: dict[tuple[str, str], str] = {}
    for version in versions:
        path = shop.pool.root / "locks" / version.image / f"{version.number}.yml"
        with contextlib.suppress(OSError):
            found |= _hashes(path.read_text("utf-8").splitlines())
    return found


def _hashes(lines: Sequence[str]) -> dict[tuple[str, str], str]:
    """Read the packages of a lock as it is written, without the time that all of YAML takes."""
    found: dict[tuple[str, str], str] = {}
    name = version = ""
    for line in lines:
        match = re.match(r"\s+(?:- )?(name|version|sha256): \"?([^\"]*)\"?$", line)
        if match is None:
            continue
        if match[1] == "name":
            name, version = match[2], ""
        elif match[1] == "version":
            version = match[2]
        elif name and version:
            found[name, version] = match[2]
    return found
