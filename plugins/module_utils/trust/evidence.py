# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a policy is judged by: whose signatures hold, and what trusted people attest."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..core.errors import DriverError
from ..oci.layout import Layout
from ..oci.statement import Statement, read_statement
from .attachments import read_attached, read_envelopes, read_signatures
from .keys import PublicKey


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key whose owner is known.

    :param name: of the owner, for messages.
    """

    name: str
    key: PublicKey


@dataclass(frozen=True, slots=True)
class Attested:
    """A statement about the version, and which trusted keys signed it; none when it is bare."""

    statement: Statement
    signers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Lineage:
    """What the catalog knows of where a version comes from.

    :param parent: ``NAME NUMBER`` of the version that it is built on; empty for another base.
    :param parent_channels: the channels that point to that version, now or before.
    :param revoked: sentences, one for the version and each of its ancestors that is revoked.
    """

    parent: str = ""
    parent_channels: frozenset[str] = frozenset()
    revoked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a policy is judged by.

    :param created: when what the version is made from was released, seconds since the epoch.
    :param now: seconds since the epoch.
    :param signers: names of the trusted keys that signed the version's index.
    :param unknown_signatures: how many signatures there are by other keys, or of other images.
    """

    created: float
    now: float
    signers: frozenset[str] = frozenset()
    unknown_signatures: int = 0
    attested: tuple[Attested, ...] = ()
    lineage: Lineage = field(default_factory=Lineage)


def gather(
    layout: Layout,
    index: str,
    keys: Sequence[TrustedKey],
    *,
    created: float,
    now: float,
    lineage: Lineage | None = None,
) -> Evidence:
    """Verify what *layout* has attached to the version with the index of that digest.

    Nothing is believed for being there: a signature counts when it is by one of *keys* and says
    this very digest; a statement when it speaks of it.
    """
    signers: set[str] = set()
    unknown = 0
    for signature in read_signatures(layout, index):
        by = {
            trusted.name
            for trusted in keys
            if signature.digest == index
            and trusted.key.verifies(signature.signature, signature.payload)
        }
        signers |= by
        unknown += not by
    return Evidence(
        created,
        now,
        frozenset(signers),
        unknown,
        tuple(_attested(layout, index, keys)),
        lineage or Lineage(),
    )


def _attested(layout: Layout, index: str, keys: Sequence[TrustedKey]) -> list[Attested]:
    found: dict[bytes, Attested] = {}
    for envelope in read_envelopes(layout, index):
        by = frozenset(trusted.name for trusted in keys if envelope.is_by(trusted.key))
        before = found.get(envelope.payload)
        with contextlib.suppress(DriverError):
            about = envelope.statement()
            if by and index in about.subjects:
                signers = by | (before.signers if before is not None else frozenset())
                found[envelope.payload] = Attested(about.statement, signers)
    for one in read_attached(layout, index, "statements"):
        with contextlib.suppress(DriverError):
            about = read_statement(one.content)
            if index in about.subjects and one.content not in found:
                found[one.content] = Attested(about.statement)
    return list(found.values())
