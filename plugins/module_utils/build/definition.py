# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Image definitions: reading them from files and folders, and the order that they bake in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..core.errors import DriverError
from ..core.yaml_fields import nearest
from ..core.yaml_source import Unsafe, Vaulted, read_source
from .definition_model import (
    Archive,
    Base,
    Compliance,
    Debootstrap,
    Definition,
    DiskSpec,
    DiskState,
    Healthcheck,
    ImageConfig,
    LayerSpec,
    Parent,
    Port,
    Registry,
    Seal,
    StatePath,
    Waiver,
)
from .definition_schema import read_definition

__all__ = [
    "Archive",
    "Base",
    "Compliance",
    "Debootstrap",
    "Definition",
    "DiskSpec",
    "DiskState",
    "Healthcheck",
    "ImageConfig",
    "LayerSpec",
    "Parent",
    "Port",
    "Registry",
    "Seal",
    "StatePath",
    "Unsafe",
    "Vaulted",
    "Waiver",
    "load",
    "load_all",
    "order",
]

_SUFFIXES = (".yml", ".yaml")
_NOT_DEFINITIONS = tuple(
    f"{ending}{suffix}" for ending in (".lock", "kiln.images") for suffix in _SUFFIXES
)


def load(path: str | os.PathLike[str]) -> Definition:
    """Return the definition in the file at *path*.

    Raises one DriverError with a line ``FILE:LINE: SENTENCE`` for each thing that is wrong.
    """
    absolute = Path(os.path.normpath(Path(path).absolute()))
    return read_definition(read_source(absolute, os.fspath(path)))


def load_all(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> tuple[Definition, ...]:
    """Return the definitions in a file, in a folder, or in several of both.

    A folder gives its own ``*.yml`` and ``*.yaml`` files, sorted, without hidden files, locks
    (``*.lock.yml``) and inventories (``*kiln.images.yml``). A file that is named twice is read
    once. Raises one DriverError for the errors of all files, and for definitions that have the
    same name.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    files = {file.resolve(): file for path in paths for file in _files(Path(path))}
    loaded: list[Definition] = []
    failures: list[DriverError] = []
    for file in files.values():
        try:
            loaded.append(load(file))
        except DriverError as error:
            failures.append(error)
    failures.extend(_duplicates(loaded))
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise DriverError("\n".join(failure.message for failure in failures))
    return tuple(loaded)


def order(definitions: Sequence[Definition]) -> tuple[tuple[Definition, ...], ...]:
    """Return *definitions* in levels: the bases of each level's images are in the levels before.

    Raises DriverError when a base is none of *definitions*, and for a cycle.
    """
    by_name = {definition.name: definition for definition in definitions}
    unknown = [sentence for one in definitions if (sentence := _unknown_base(one, sorted(by_name)))]
    if unknown:
        raise DriverError("\n".join(unknown))
    levels: list[tuple[Definition, ...]] = []
    placed: set[str] = set()
    left = list(definitions)
    while left:
        ready = tuple(
            one for one in left if not isinstance(one.base, Parent) or one.base.name in placed
        )
        if not ready:
            raise _cycle(left[0], by_name)
        levels.append(ready)
        placed.update(one.name for one in ready)
        left = [one for one in left if one.name not in placed]
    return tuple(levels)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.exists():
            folder = path.parent
            siblings = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
            near = nearest(path.name, siblings)
            meant = f"; did you mean {folder / near}?" if near else "."
            raise DriverError(f"{path}: there is no such file or folder{meant}")
        return [path]
    found = sorted(
        entry
        for entry in path.iterdir()
        if entry.name.endswith(_SUFFIXES)
        and not entry.name.startswith(".")
        and not entry.name.endswith(_NOT_DEFINITIONS)
        and entry.is_file()
    )
    if not found:
        raise DriverError(
            f"{path}: the folder holds no image definition; put one there, such as web.yml."
        )
    return found


def _duplicates(definitions: Sequence[Definition]) -> list[DriverError]:
    first: dict[str, Definition] = {}
    found = []
    for one in definitions:
        other = first.setdefault(one.name, one)
        if other is not one:
            found.append(
                DriverError(
                    f"{one.at(one.name_line)}: name is {one.name}, as in "
                    f"{other.at(other.name_line)}; each image needs a name of its own."
                )
            )
    return found


def _unknown_base(definition: Definition, names: Sequence[str]) -> str:
    base = definition.base
    if not isinstance(base, Parent) or base.name in names:
        return ""
    meant = nearest(base.name, [name for name in names if name != definition.name])
    advice = f"did you mean {meant}?" if meant else f"the images are {', '.join(names)}."
    return (
        f"{definition.at(base.line)}: base.image is {base.name}, and no definition has that "
        f"name; {advice}"
    )


def _cycle(start: Definition, by_name: dict[str, Definition]) -> DriverError:
    trail = [start.name]
    while isinstance(base := by_name[trail[-1]].base, Parent):
        trail.append(base.name)
        if trail.count(base.name) > 1:
            break
    trail = trail[trail.index(trail[-1]) :]
    first = by_name[trail[0]]
    line = first.base.line if isinstance(first.base, Parent) else 1
    return DriverError(
        f"{first.at(line)}: base.image makes a circle, {' -> '.join(trail)}; one of these images "
        "needs another kind of base."
    )
