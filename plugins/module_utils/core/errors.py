# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception that users see as a sentence instead of a traceback."""

from __future__ import annotations

from collections.abc import Mapping


class DriverError(Exception):
    """Something the user can mend: what is wrong, and what to do about it.

    :param message: one sentence naming what is wrong and where (file and line, or option).
    :param hint: what to do next, one sentence; empty when the message says it all.
    :param details: machine-readable context, returned beside the message by modules.
    """

    def __init__(
        self, message: str, *, hint: str = "", details: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: Mapping[str, object] = details or {}

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message
