# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telling people and programs how a rotation goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.canonical import encode
from ..core.command import Runner, run
from ..core.errors import DriverError
from .definition_model import Notification
from .exchange import exchange

Post = Callable[[str, bytes, float], None]


def post(url: str, body: bytes, timeout: float) -> None:
    """Send *body*, JSON, to *url*; DriverError when it is not taken."""
    exchange("POST", url, timeout, body)


def tell(
    notifications: Sequence[Notification],
    event: str,
    message: Mapping[str, Any],
    *,
    runner: Runner = run,
    send: Post = post,
) -> list[str]:
    """Tell everyone who wants to know of *event*; return a warning for each who was not reached.

    A rotation is as good as it is, whoever hears of it.
    """
    warnings = []
    body = encode({"event": event, **message})
    for one in notifications:
        if event not in one.events:
            continue
        try:
            if one.kind == "webhook":
                send(one.url, body, one.timeout)
            else:
                runner(list(one.command), stdin=body, timeout=one.timeout)
        except DriverError as error:
            warnings.append(f"A notification of {event} failed: {error}")
    return warnings
