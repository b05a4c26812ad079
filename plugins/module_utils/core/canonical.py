# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Canonical JSON: equal values give equal bytes, so that a digest can stand for a value."""

from __future__ import annotations

import hashlib
import json


def encode(value: object) -> bytes:
    """Return the canonical JSON of *value* as UTF-8: sorted keys, no white space, NaN refused.

    The form is that of OLPC canonical JSON except that strings may carry any Unicode text.
    Raises ValueError for NaN and infinities, TypeError for what JSON cannot hold.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8", "surrogateescape")


def digest(value: object) -> str:
    """Return ``sha256:HEX`` of the canonical JSON of *value*."""
    return "sha256:" + hashlib.sha256(encode(value)).hexdigest()
