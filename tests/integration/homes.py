# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Homes of tests that begin with what another one has, so that nothing is made a second time."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout


def link(file: str, copy: str) -> None:
    """Give *file* another name: files of a home are replaced and never changed."""
    try:
        os.link(file, copy)
    except FileNotFoundError:
        pass  # a bake that goes on has just moved it to its place
    except OSError:  # another file system
        shutil.copy2(file, copy)


def copy_cache(source: Path, target: Path) -> None:
    """Give the home *target* what the layers in *source* consist of, while bakes use that one."""
    # What records speak of was there before them.
    for folder in ("cache", "store"):
        shutil.copytree(source / folder, target / folder, copy_function=link)


def copy_base(source: Path, target: Path, image: str) -> None:
    """Give the home *target* the base of version 1.0.1 of *image*, and nothing else.

    With what was found out of it, and of Debian's security archive: each bake would read the whole
    base and fetch the index once more.
    """
    version = source / "catalog" / "images" / image / "versions" / "1.0.1.yml"
    layout = Layout(source / "store")

    def read(digest: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(layout.path(digest).read_bytes())
        return found

    (manifest,) = read(yaml.safe_load(version.read_text())["index"])["manifests"]
    first = read(manifest["digest"])["layers"][0]["digest"]
    for path in (source / "cache" / "bases").glob("[!.]*.json"):
        record = json.loads(path.read_bytes())
        if [layer["descriptor"]["digest"] for layer in record["layers"]] == [first]:
            break
    else:
        raise AssertionError(f"{image} has a base that no record in {source} names")
    listing = record["layers"][0]["diffID"].partition(":")[2]
    patterns = (
        f"cache/bases/{path.name}",
        f"cache/toolkits/kiln-toolkit-{record['suite']}-*",
        "cache/security/[!.]*",
        f"store/listings/{listing}*",
    )
    for found in (one for pattern in patterns for one in source.glob(pattern)):
        copy = target / found.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, copy)  # tests change such files
    blob = Layout(target / "store").path(first)
    blob.parent.mkdir(parents=True, exist_ok=True)
    link(str(layout.path(first)), str(blob))


def copy_layers(source: Path, target: Path, image: str) -> None:
    """Give the home *target*, which has its base, the layers of the last bake of *image* too."""
    latest = json.loads((source / "cache" / "latest" / f"{image}.json").read_bytes())
    places = [f"cache/layers/{key.partition(':')[2]}.json" for key in latest["layer_keys"]]
    for layer in [json.loads((source / place).read_bytes())["layer"] for place in places]:
        places.append(f"store/blobs/{layer['descriptor']['digest'].replace(':', '/')}")
        listing = layer["diffID"].partition(":")[2]
        places += [
            str(one.relative_to(source)) for one in source.glob(f"store/listings/{listing}*")
        ]
    for place in places:
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / place, target / place)  # tests damage blobs
