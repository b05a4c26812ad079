# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Content digests as the OCI image specification writes them: ``sha256:HEX``."""

from __future__ import annotations

import hashlib
import re

from ..core.errors import DriverError

_FORMS = {"sha256": re.compile("[0-9a-f]{64}"), "sha512": re.compile("[0-9a-f]{128}")}


def sha256_bytes(content: bytes) -> str:
    """Return the digest of *content*, ``sha256:HEX``."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def sha256_text(text: str) -> str:
    """Return the digest of *text* in UTF-8, ``sha256:HEX``."""
    return sha256_bytes(text.encode("utf-8", "surrogateescape"))


def parse(digest: str) -> tuple[str, str]:
    """Return the algorithm and the hexadecimal value of *digest*.

    Only the registered algorithms of the OCI image specification (descriptor.md, "Registered
    algorithms") are accepted, so the value is safe as a file name. Raises DriverError for any
    other text.
    """
    algorithm, _colon, value = digest.partition(":")
    form = _FORMS.get(algorithm)
    if form is None or form.fullmatch(value) is None:
        raise DriverError(
            f"{digest!r} is not a digest.",
            hint="A digest reads sha256: and 64 digits of 0-9a-f (or sha512: and 128).",
        )
    return algorithm, value
