# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Group definitions: reading them from files, and from the parameters of a module."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.errors import DriverError
from ..core.yaml_source import read_source, read_text
from .definition_model import GroupDefinition, ImageChoice
from .definition_schema import read_group

__all__ = ["as_then", "from_values", "load", "with_image", "with_size"]

_NEEDS = "a group definition needs at least image and size"
_SHAPE = "a group definition is a mapping with image and size"


def load(path: str | os.PathLike[str]) -> GroupDefinition:
    """Return the definition in the file at *path*.

    Raises one DriverError with a line ``FILE:LINE: SENTENCE`` for each thing that is wrong.
    """
    absolute = Path(os.path.normpath(Path(path).absolute()))
    return read_group(
        read_source(absolute, os.fspath(path), needs=_NEEDS, shape=_SHAPE, holds="group definition")
    )


def from_values(values: Mapping[str, Any], shown: str = "definition") -> GroupDefinition:
    """Return the definition that *values*, as a module's parameter has them, say.

    The messages are those of a file, without lines: key paths tell where.
    """
    import yaml

    text = yaml.safe_dump(plain(values), sort_keys=False, allow_unicode=True)
    source = read_text(text.encode(), Path(), shown, needs=_NEEDS, shape=_SHAPE)
    try:
        return replace(read_group(source), lines={}, shown_path=shown)
    except DriverError as error:
        problems: Any = error.details.get("problems") or []
        raise DriverError(
            "\n".join(f"{shown}: {one['message']}" for one in problems) or error.message
        ) from error


def plain(value: object) -> Any:
    """Return *value* as the types that YAML has by itself; Ansible's strings are subclasses."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value)


def as_then(definition: GroupDefinition, document: Mapping[str, Any]) -> GroupDefinition:
    """Return the definition of the same group that *document* was made of, of as many instances.

    Where it runs is as it is said now: hosts that are gone are not asked to come back. Files that
    it refers to are looked for where they are now.
    """
    then = from_values({"name": definition.name, **document}, definition.shown_path)
    size = definition.size or then.size
    return replace(then, size=size, backend=definition.backend)


def with_image(
    definition: GroupDefinition, *, channel: str = "", version: str = ""
) -> GroupDefinition:
    """Return *definition* with its image's version or channel replaced, its document too."""
    choice = ImageChoice(definition.image.name, channel=channel, version=version)
    picked = {"channel": channel} if channel else {"version": version}
    document = {**definition.document, "image": {"name": choice.name, **picked}}
    return replace(definition, image=choice, document=document)


def with_size(definition: GroupDefinition, size: int) -> GroupDefinition:
    """Return *definition* for *size* instances, its document too."""
    return replace(definition, size=size, document={**definition.document, "size": size})
