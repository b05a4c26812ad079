# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shapes of the bake key: what goes into it and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that may stand anywhere inside a variable and never leaves in clear."""

    value: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unsafe:
    """A text that Ansible does not take for a template (``!unsafe``)."""

    text: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable as the role would see it: its raw value, templates not rendered.

    :param value: scalars, lists and mappings; ``Secret`` and ``Unsafe`` mark parts of it.
    :param secret: the whole value is a secret.
    :param origin: the file and line that gave it, for messages; never part of the key.
    """

    value: object = field(repr=False)
    secret: bool = False
    origin: Path | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Uncacheable:
    """A line that depends on something that cannot be followed, and why."""

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class LayerInputs:
    """What one layer depends on.

    :param manifest: JSON-able and readable; paths in it are relative, secrets keyed digests.
    :param uncacheable: every line that could not be followed, in the order of path and line.
    :param accepted: the definition declares the layer's inputs, so these lines do not matter.
    :param facts: names that a run of the layer may give a value to, for the layers above.
    :param mentioned: which of the words that were asked for stand anywhere in its texts.
    """

    manifest: Mapping[str, object]
    uncacheable: tuple[Uncacheable, ...]
    accepted: bool = False
    facts: frozenset[str] = frozenset()
    mentioned: frozenset[str] = frozenset()

    @property
    def cacheable(self) -> bool:
        """Whether a layer with these inputs may be taken from the cache and put into it."""
        return self.accepted or not self.uncacheable


Resolve = Callable[[str, Path | None], Path]
"""Gives the directory of a role from its name and the role that asks for it (None: the
definition); raises DriverError when there is no such role."""

Reveal = Callable[[str], str]
"""Decrypts a vault text; raises DriverError when no password opens it."""
