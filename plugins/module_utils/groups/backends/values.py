# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that a definition only refers to: read when they are needed, and kept in memory alone."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...core.command import Runner, run
from ...core.errors import DriverError
from ..definition_model import GroupDefinition, Reference, Variable

Resolve = Callable[[Reference], bytes]
_PATIENCE = 60.0  # seconds that a program has to give a value


@dataclass(frozen=True, slots=True)
class References:
    """Finds what a reference names, on the controller. No message has a value in it.

    :param folder: where relative paths begin; the working directory by default.
    """

    folder: Path | None = None
    runner: Runner = field(default=run)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @classmethod
    def of(cls, definition: GroupDefinition) -> References:
        """Return what finds the references of *definition*, beside whose file paths begin."""
        return cls(Path(definition.shown_path).parent if definition.shown_path else None)

    def __call__(self, reference: Reference) -> bytes:
        if reference.kind == "env":
            value = self.environ.get(reference.name)
            if value is None:
                raise DriverError(
                    f"The variable {reference.name}, which the group refers to, is not set.",
                    hint="Set it where Ansible runs.",
                )
            return value.encode("utf-8", "surrogateescape")
        if reference.kind == "file":
            path = (self.folder or Path()) / Path(reference.name).expanduser()
            try:
                return path.read_bytes()
            except OSError as error:
                raise DriverError(
                    f"The file {path}, which the group refers to, cannot be read: {error.strerror}."
                ) from error
        done = self.runner(list(reference.command), check=False, timeout=_PATIENCE, cwd=self.folder)
        if done.status != 0:
            # What it wrote could be the value itself.
            raise DriverError(
                f"The program {reference.command[0]}, which the group refers to, ended with"
                f" status {done.status}."
            )
        return done.stdout.removesuffix(b"\n")


@dataclass(frozen=True, slots=True)
class Once:
    """Asks *resolve* for each value once, so that what is said of a value is true of what is given.

    A file may become another one in the middle of a rotation: that is the next one's matter.
    """

    resolve: Resolve
    _known: dict[Reference, bytes] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, reference: Reference) -> bytes:
        if reference not in self._known:
            self._known[reference] = self.resolve(reference)
        return self._known[reference]


def referred(definition: GroupDefinition) -> dict[str, Reference]:
    """Return what gives instances values by reference: ``secret:NAME`` or ``variable:NAME``."""
    variables = {f"variable:{one.name}": one.reference for one in definition.environment}
    return {
        **{f"secret:{one.name}": one.reference for one in definition.secrets},
        **{name: reference for name, reference in variables.items() if reference is not None},
    }


def marks(definition: GroupDefinition, resolve: Resolve, key: bytes) -> str:
    """Return ``key=NAME secret:NAME=DIGEST variable:NAME=DIGEST ...`` of all values that instances
    are given by reference, empty without any. The digests are keyed ones (RFC 2104).
    """
    words = [
        f"{name}={hmac.digest(key, name.encode() + bytes(1) + resolve(reference), 'sha256').hex()}"
        for name, reference in sorted(referred(definition).items())
    ]
    called = hmac.digest(key, b"the key itself", "sha256").hex()[:16]
    return " ".join([f"key={called}", *words]) if words else ""


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
