# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that a definition only refers to: read when they are needed, and kept nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .. import references
from ..definition_model import GroupDefinition, Reference, Variable

Resolve = Callable[[Reference], bytes]


def resolver(definition: GroupDefinition) -> Resolve:
    """Return what finds the values that *definition* refers to; paths begin beside its file."""
    folder = Path(definition.shown_path).parent if definition.shown_path else None

    def find(reference: Reference) -> bytes:
        return references.resolve(reference, f"The group {definition.name}", folder=folder)

    return find


def environment(
    variables: tuple[Variable, ...], resolve: Resolve
) -> tuple[list[str], dict[str, str]]:
    """Return the options for *variables*, and the environment that the client needs for them.

    A value that is referred to is taken from the client's environment: an argument is seen by
    everybody on the controller.
    """
    options: list[str] = []
    needed: dict[str, str] = {}
    for one in variables:
        if one.reference is None:
            options += ["--env", f"{one.name}={one.value}"]
        else:
            options += ["--env", one.name]
            value = resolve(one.reference).decode("utf-8", "surrogateescape")
            needed[one.name] = value.removesuffix("\n")
    return options, needed
