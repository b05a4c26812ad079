# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping what was found out about a version, and signing it; both can be done again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..core.files import locked
from ..oci.image import Image
from ..oci.layout import Layout
from ..oci.predicates import SCANNER
from ..oci.statement import Statement, read_statement
from .attachments import (
    DSSE,
    IN_TOTO,
    PREDICATE_TYPE,
    Attached,
    read_attached,
    read_envelope,
    read_signatures,
    signed_image,
    signed_statement,
    statement_documents,
    write_attached,
)
from .signer import Signer

Key = tuple[str, str]
"""Of statements that take each other's place: the predicate's type, and which scanner it is of."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What keeping or signing came to.

    :param statements: predicate types that were new or other than before.
    :param signed: how many signatures were made.
    """

    statements: tuple[str, ...] = ()
    signed: int = 0

    @property
    def changed(self) -> bool:
        """Whether the store holds something that it did not hold."""
        return bool(self.statements or self.signed)


def statement_key(statement: Statement) -> Key:
    """Return what *statement* is of; a newer one of the same key takes its place."""
    scanner = statement.predicate.get("scanner") if statement.predicate_type == SCANNER else None
    told = scanner.get("uri") if isinstance(scanner, dict) else None
    return statement.predicate_type, str(told or "")


def keep_statements(
    layout: Layout, image: Image, name: str, statements: Iterable[Statement]
) -> Kept:
    """Keep *statements* with the version, each in the place of the one before of its kind.

    They speak of the version's index and of its container manifest, so that both are verified
    alike. What killed processes left is put right: the tag that leads to them is written last.

    :param name: of the version's repository.
    """
    given = [(statement_key(one), one) for one in statements]
    with _alone(layout):
        before = {_key(one.content): one for one in read_attached(layout, _subject(image), _KEPT)}
        after = dict(before)
        for key, one in given:
            documents = statement_documents([one], name, _digests(image))
            content = documents[one.predicate_type]
            after[key] = Attached(IN_TOTO, content, {PREDICATE_TYPE: one.predicate_type})
        new = [key[0] for key in after if after[key] != before.get(key)]
        if new:
            ordered = [after[key] for key in sorted(after)]
            for digest in _digests(image):
                write_attached(layout, digest, _KEPT, ordered)
    return Kept(tuple(new))


def kept_statements(layout: Layout, image: Image) -> list[Statement]:
    """Return the statements that are kept with a version, which nobody may have signed."""
    return [
        read_statement(one.content).statement
        for one in read_attached(layout, _subject(image), _KEPT)
    ]


def sign_version(
    layout: Layout, image: Image, reference: str, signer: Signer, *, looks: bool = False
) -> Kept:
    """Sign a version and all statements that are kept with it, unless *signer* has already.

    Signatures of other keys stay. Of this key's attestations those go whose statement is no
    longer kept.

    :param reference: repository that the signature is for, without a tag.
    :param looks: only count what would be signed.
    """
    made = 0
    with _alone(layout):
        for digest in _digests(image):
            if _has_signed(layout, digest, reference, signer):
                continue
            made += 1
            if not looks:
                before = read_attached(layout, digest, "sig")
                after = [*before, signed_image(signer, reference, digest)]
                write_attached(layout, digest, "sig", after)
        kept = {one.content: one for one in read_attached(layout, _subject(image), _KEPT)}
        fresh: dict[bytes, Attached] = {}
        for digest in _digests(image):
            before = read_attached(layout, digest, "att")
            others, signed = _sorted_out(before, signer, kept.__contains__)
            missing = [one for one in kept if one not in signed and one not in fresh]
            made += len(missing)
            if looks:
                return Kept((), made)
            for content in missing:
                kind = kept[content].annotations[PREDICATE_TYPE]
                fresh[content] = signed_statement(signer, content, kind)
            mine = [signed.get(content) or fresh[content] for content in kept]
            after = [*others, *mine]
            if after and after != before:
                write_attached(layout, digest, "att", after)
    return Kept((), made)


_KEPT = "statements"


def _sorted_out(
    attached: Iterable[Attached], signer: Signer, is_kept: Callable[[bytes], bool]
) -> tuple[list[Attached], dict[bytes, Attached]]:
    """Part attestations into those of other keys, and this key's that still hold, by statement."""
    others: list[Attached] = []
    mine: dict[bytes, Attached] = {}
    for one in attached:
        envelope = read_envelope(one.content) if one.media_type == DSSE else None
        if envelope is None or not envelope.is_by(signer.public):
            others.append(one)
        elif is_kept(envelope.payload):
            mine.setdefault(envelope.payload, one)
    return others, mine


def _has_signed(layout: Layout, digest: str, reference: str, signer: Signer) -> bool:
    return any(
        one.digest == digest
        and one.reference == reference
        and signer.public.verifies(one.signature, one.payload)
        for one in read_signatures(layout, digest)
    )


def _key(document: bytes) -> Key:
    return statement_key(read_statement(document).statement)


def _subject(image: Image) -> str:
    return image.index.digest


def _digests(image: Image) -> tuple[str, str]:
    return image.index.digest, image.manifest.digest


@contextlib.contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """Keep other signers of the same store waiting: each reads, adds, and writes whole."""
    with locked(layout.root / "ingest" / "attached.lock"):
        yield
