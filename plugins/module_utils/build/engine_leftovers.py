# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that bakes left in the engine: those that build containers were started from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .engine import CHAIN_REPOSITORY, Engine

YOUNG = 24 * 3600.0
"""Seconds: a bake, perhaps of another home, starts its container from an image soon after it is
loaded. After that the container itself protects it."""

_FRACTION = re.compile(r"\.\d+")


def chain_leftovers(engine: Engine, *, now: float) -> list[str]:
    """Return the names of the images for build containers that no container was started from.

    :param now: seconds since 1970.

    The session that an image is named after may be of another home with the same engine, so
    that it is not known here is no proof that it has ended: the age is.
    """
    names = engine.references(f"{CHAIN_REPOSITORY}:*")
    if not names:
        return []
    used = engine.images_in_use()
    found = json.loads(engine.runner(["docker", "image", "inspect", *names], check=False).stdout)
    old = {
        tag
        for image in found
        if now - _named_at(image) >= YOUNG and image["Id"] not in used
        for tag in image.get("RepoTags") or ()
    }
    return [name for name in names if name in old]


def _named_at(image: Mapping[str, Any]) -> float:
    """When the engine gave the image its last name: made by us, it says 1970 of itself."""
    text = str((image.get("Metadata") or {}).get("LastTagTime") or "")
    try:
        named = datetime.fromisoformat(_FRACTION.sub("", text))
    except ValueError:
        named = None
    # An engine that does not know says year 1, or nothing: that is never old enough.
    return float("inf") if named is None or named.year < 2000 else named.timestamp()
