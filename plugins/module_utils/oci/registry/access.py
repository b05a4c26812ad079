# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client is told of a registry, and what it says when that does not work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import DriverError

CHUNK = 64 << 20
"""Bytes of one request of an upload: what is lost at most when a connection breaks."""


@dataclass(frozen=True, slots=True)
class Access:
    """How registries may be spoken to.

    :param ca: file of certificates that are trusted beside the system's.
    :param plain_http: allows HTTP without TLS to hosts other than this machine.
    :param attempts: how often what can pass is tried.
    :param parallel: transfers at once.
    :param chunk: bytes of a request of an upload.
    :param timeout: seconds without a byte after which a connection counts as broken.
    """

    ca: Path | None = None
    plain_http: bool = False
    attempts: int = 5
    parallel: int = 4
    chunk: int = CHUNK
    timeout: float = 60.0


class RegistryError(DriverError):
    """A registry refused, or could not be reached.

    :param status: of its answer; 0 when there was none.
    :param codes: what the answer names as reasons (distribution-spec v1.1, "Error codes").
    """

    def __init__(
        self, message: str, *, hint: str = "", status: int = 0, codes: Sequence[str] = ()
    ) -> None:
        super().__init__(message, hint=hint, details={"status": status, "codes": list(codes)})
        self.status = status
        self.codes = tuple(codes)


class Interrupted(RegistryError):
    """The connection broke, or the registry had a moment's trouble: it can be tried again.

    :param delay: seconds that the registry asked to wait, None when it named none.
    """

    def __init__(self, message: str, *, status: int = 0, delay: float | None = None) -> None:
        super().__init__(message, status=status)
        self.delay = delay


class WrongContent(RegistryError):
    """A registry gave other bytes than their digest says."""


def reasons(content: bytes) -> tuple[list[str], str]:
    """Return the codes and the sentence that the body of a refusal holds; both may be empty."""
    try:
        errors = json.loads(content)["errors"]
        codes = [str(error.get("code", "")) for error in errors]
        said = "; ".join(
            " ".join(filter(None, (str(e.get("code", "")), str(e.get("message", "")), _detail(e))))
            for e in errors
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return [], " ".join(content[:200].decode("utf-8", "replace").split())
    return codes, said


def _detail(error: dict[str, object]) -> str:
    detail = error.get("detail")
    return f"({json.dumps(detail)[:200]})" if detail else ""
