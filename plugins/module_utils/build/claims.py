# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image of a bake makes a layer that several of its images have: the others wait for it.

``sessions/ID/claims/KEY`` is a link that names the image. Keys hold the keys of all layers below,
so images share the first layers that are missing, or none. Who waits has claimed nothing, so
nobody waits in a circle.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ..core.waiting import Clock
from .chain import Chain
from .session import Session

_INTERVAL = 0.1
"""Seconds between two looks."""


def await_shared_layers(
    session: Session,
    image: str,
    chain: Chain,
    known: Callable[[], Chain],
    there: Callable[[str], bool],
    say: Callable[[str], None],
    *,
    clock: Clock = time,
) -> Chain:
    """Wait for the layers that other images of the bake make; return the chain with them.

    What is missing then is claimed for *image*.

    DriverError is raised when the bake ends meanwhile.

    :param known: computes the chain anew.
    :param there: says whether the layer of a key can be taken from the cache by now.
    """
    told = ""
    while chain.pending:
        first = chain.pending[0]
        maker = claim(session, image, [link.key for link in chain.pending])
        if maker is None:
            break
        if maker != told:
            say(f"waiting for {maker}, which makes the same layer {first.step.name}")
            told = maker
        while _at_work(session, maker) and not there(first.key):
            session.check_open()
            clock.sleep(_INTERVAL)
        chain = known()
    return chain


def claim(session: Session, image: str, keys: Sequence[str]) -> str | None:
    """Let *image* make the layers of *keys*, the first missing one first.

    Return the name of another image that makes the first one at this moment: then nothing is
    claimed. None means that *image* makes it.
    """
    folder = session.folder / "claims"
    folder.mkdir(exist_ok=True)
    first = _path(folder, keys[0])
    maker = _maker(first)
    if maker not in (None, image) and _at_work(session, str(maker)):
        return maker
    try:
        os.symlink(image, first)
    except FileExistsError:
        maker = _maker(first)
        if maker not in (None, image) and _at_work(session, str(maker)):
            return maker
        _replace(first, image)  # its maker failed
    for key in keys[1:]:
        with contextlib.suppress(FileExistsError):
            os.symlink(image, _path(folder, key))
    return None


def _at_work(session: Session, image: str) -> bool:
    return session.read(image).get("status") == "building"


def _path(folder: Path, key: str) -> Path:
    return folder / key.rpartition(":")[2]


def _maker(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None


def _replace(path: Path, image: str) -> None:
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    os.symlink(image, partial)
    os.replace(partial, path)
