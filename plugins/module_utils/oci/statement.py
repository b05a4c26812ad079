# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found out about a finished image, as in-toto statements (attestation spec, v1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core import canonical
from ..core.errors import DriverError
from .digest import parse

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True, slots=True)
class Statement:
    """One claim about an image that does not yet name the image.

    :param predicate_type: a URI that says what the predicate is, such as
        ``https://slsa.dev/provenance/v1``.
    :param predicate: JSON-able values.
    """

    predicate_type: str
    predicate: Mapping[str, Any] = field(hash=False)

    def document(self, subject_name: str, digest: str) -> bytes:
        """Return the statement about the subject of *digest*, as canonical JSON.

        :param subject_name: how people call it: a repository, perhaps with a tag.
        :param digest: of the manifest or index that it speaks of, ``sha256:HEX``.
        """
        algorithm, value = parse(digest)
        return canonical.encode(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": subject_name, "digest": {algorithm: value}}],
                "predicateType": self.predicate_type,
                "predicate": dict(self.predicate),
            }
        )


@dataclass(frozen=True, slots=True)
class StatementAbout:
    """A statement that was read, with the digests of what it speaks of."""

    statement: Statement
    subjects: tuple[str, ...]


def read_statement(content: bytes) -> StatementAbout:
    """Read a statement of version 1 or 0.1; DriverError when it is malformed."""
    try:
        value = json.loads(content)
        kind, listed = value["_type"], value["subject"]
        kind_of_predicate, predicate = value["predicateType"], value["predicate"]
        subjects = tuple(
            f"{name}:{hexed}" for one in listed for name, hexed in one["digest"].items()
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DriverError(f"This in-toto statement is malformed: {error!r}.") from error
    if kind not in (STATEMENT_TYPE, "https://in-toto.io/Statement/v0.1"):
        raise DriverError(f"{kind!r} is no version of in-toto statements that is known here.")
    if not isinstance(kind_of_predicate, str) or not isinstance(predicate, dict):
        raise DriverError("This in-toto statement has no predicate.")
    return StatementAbout(Statement(kind_of_predicate, predicate), subjects)
