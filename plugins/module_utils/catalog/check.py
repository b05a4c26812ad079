# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a catalog is whole: its repository, its files, and what they say of each other."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.command import last_lines
from ..core.errors import DriverError
from .repository import Catalog
from .version import Version, VersionNumber


def check_catalog(catalog: Catalog) -> list[str]:
    """Return a sentence for each thing that is wrong; it only looks."""
    if not (catalog.root / ".git").exists():
        return []
    done = catalog.git.run("fsck", "--connectivity-only", "--no-dangling", check=False)
    found = [f"Git finds fault with {catalog.root}: {last_lines(done)}"] if done.status else []
    try:
        if catalog.git.commit_of("HEAD") is not None:
            changed = catalog.git.uncommitted_below("images", "groups", catalog.SETTINGS)
            found += [f"{path} is not as it was committed." for path in changed]
    except DriverError as error:
        # Without the tree of the last commit Git compares nothing, and was found fault with above.
        if not done.status:
            found.append(error.message)
    try:
        catalog.settings()
        groups = catalog.groups()
    except DriverError as error:
        found.append(error.message)
        groups = []
    images = {image: _image(catalog, image, found) for image in catalog.images()}
    for image, numbers in images.items():
        found += _references(catalog, image, numbers, images)
    for group in groups:
        known = images.get(group.image, {})
        gone = [number for number in group.running if number not in known]
        found += [f"The group {group.name} runs {group.image} {n}, which is gone." for n in gone]
    return found


def _image(catalog: Catalog, image: str, found: list[str]) -> dict[str, Version]:
    """Read the versions of an image, and note in *found* what is wrong with each."""
    versions: dict[str, Version] = {}
    by_index: dict[str, str] = {}
    for path in sorted((catalog.root / "images" / image / "versions").glob("*.yml")):
        try:
            VersionNumber.parse(path.stem)
            version = catalog.version(image, path.stem)
        except DriverError as error:
            text = error.message
            found.append(text if str(path) in text else f"{path}: {text}")
            continue
        if version is None:
            continue
        if (version.image, version.number) != (image, path.stem):
            found.append(f"{path} speaks of {version.image} {version.number}.")
        twin = by_index.setdefault(version.index, path.stem)
        if twin != path.stem:
            found.append(f"{image} {path.stem} and {twin} are the same bytes.")
        versions[path.stem] = version
    return versions


def _references(
    catalog: Catalog,
    image: str,
    versions: dict[str, Version],
    images: dict[str, dict[str, Version]],
) -> Iterator[str]:
    try:
        channels, revoked = catalog.channels(image), catalog.revoked(image)
        pruned = catalog.tombstones(image)
    except DriverError as error:
        yield error.message
        return
    for name, channel in channels.items():
        if channel.version not in versions:
            yield f"The channel {name} of {image} points to {channel.version}, which is gone."
    for number in revoked.keys() - versions.keys() - pruned.keys():
        yield f"{image} {number} is revoked, and there never was one."
    for number in pruned.keys() & versions.keys():
        yield f"{image} {number} is there, and pruned too."
    for number, version in versions.items():
        parent, base = version.parent, version.parent_version
        if parent is None or base is None or base in images.get(parent, {}):
            continue
        yield f"{image} {number} is built on {parent} {base}, which is gone."
