# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root of a finished image, unpacked where tools can look at it and cannot change it.

It is in a volume without a name, that of a container which is never started: whoever removes the
containers of a bake, however it ended, removes the root with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from .engine import SESSION_LABEL, Engine
from .toolbox import Toolbox

TARGET = "/target"
_UNPACK = f"""\
set -eu
cd {TARGET}
tar -x --numeric-owner --xattrs --xattrs-include='*' --exclude=.dockerenv
"""
# By this file scanners know a container; a VM's root must not have it, whatever unpacked it.
_MARK_CONTAINER = "touch .dockerenv\n"


@dataclass(frozen=True, slots=True)
class FinishedRoot:
    """An unpacked root. With :attr:`options` a tool finds it at ``TARGET``, read-only."""

    holder: str

    @property
    def options(self) -> tuple[str, ...]:
        """The options of the engine's client that give it to a tool."""
        return ("--volumes-from", f"{self.holder}:ro")


@contextlib.contextmanager
def finished_root(
    engine: Engine, toolbox: Toolbox, image: str, *, name: str, kind: str, session: str
) -> Iterator[FinishedRoot]:
    """Unpack the root of *image*, which the engine has, for the time of the block.

    :param name: of the image in its definition.
    :param kind: ``container`` or ``vm``: what scanners are to take the root for.
    """
    labels = {SESSION_LABEL: session}
    source = f"kiln-root-{name}-{session}"
    with holder(engine, toolbox.image, f"kiln-scan-{name}-{session}", TARGET, session) as held:
        try:
            engine.create_container(source, image, labels=labels)
            toolbox.run(
                ["/bin/sh", "-c", _UNPACK + (_MARK_CONTAINER if kind == "container" else "")],
                stdin=engine.export(source),
                options=["--volumes-from", held],
            )
        finally:
            engine.remove_containers([source])
        yield FinishedRoot(held)


@contextlib.contextmanager
def holder(engine: Engine, image: str, name: str, path: str, session: str) -> Iterator[str]:
    """Give a container of *image* whose only use is its volume at *path*, for the block."""
    engine.remove_containers([name])
    try:
        yield engine.create_container(
            name, image, options=["--volume", path], labels={SESSION_LABEL: session}
        )
    finally:
        engine.remove_containers([name])
