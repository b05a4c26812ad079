# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping and signing what is known of a version, and what of it is believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer,
    Image,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.predicates import SCANNER
from ansible_collections.kiln.immutable.plugins.module_utils.oci.statement import Statement
from ansible_collections.kiln.immutable.plugins.module_utils.trust.attachments import (
    read_attached,
    read_envelopes,
    read_signatures,
    signed_image,
    signed_statement,
    tag_of,
    write_attached,
)
from ansible_collections.kiln.immutable.plugins.module_utils.trust.evidence import (
    Evidence,
    TrustedKey,
    gather,
)
from ansible_collections.kiln.immutable.plugins.module_utils.trust.keys import generate_key
from ansible_collections.kiln.immutable.plugins.module_utils.trust.notary import (
    keep_statements,
    kept_statements,
    sign_version,
)

ALICE, BOB, EVE = generate_key(), generate_key(), generate_key()
TRUSTED = (TrustedKey("alice", ALICE.public), TrustedKey("bob", BOB.public))
REVIEW = "https://example.org/review/v1"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.ensure()
    return made


def image(layout: Layout, text: str = "web") -> Image:
    layer = store_layer(layout, [text.encode()])
    return write_image(layout, ImageConfig("amd64", 1), [HistoryLayer(layer, "kiln: base")])


def found(layout: Layout, of: Image) -> Evidence:
    return gather(layout, of.index.digest, TRUSTED, created=0.0, now=1.0)


def told(evidence: Evidence) -> set[tuple[Any, frozenset[str]]]:
    return {(one.statement.predicate["v"], one.signers) for one in evidence.attested}


def test_index_and_manifest_are_signed_each_with_all_statements(layout: Layout) -> None:
    web = image(layout)
    keep_statements(layout, web, "web", [Statement(REVIEW, {"v": 1})])
    made = sign_version(layout, web, "kiln/web", ALICE)
    assert (made.changed, made.signed) == (True, 3)
    for digest in (web.index.digest, web.manifest.digest):
        (signature,) = read_signatures(layout, digest)
        assert signature.digest == digest
        (envelope,) = read_envelopes(layout, digest)
        assert envelope.is_by(ALICE.public)
        assert digest in envelope.statement().subjects


def test_doing_it_again_changes_nothing(layout: Layout) -> None:
    web = image(layout)
    statements = [Statement(REVIEW, {"v": 1}), Statement("https://example.org/x", {"v": 2})]
    keep_statements(layout, web, "web", statements)
    sign_version(layout, web, "kiln/web", ALICE)
    before = layout.tags()
    assert not keep_statements(layout, web, "web", statements[:1]).changed
    assert not sign_version(layout, web, "kiln/web", ALICE).changed
    assert layout.tags() == before


def test_a_second_signer_adds_to_the_first(layout: Layout) -> None:
    web = image(layout)
    keep_statements(layout, web, "web", [Statement(REVIEW, {"v": 1})])
    sign_version(layout, web, "kiln/web", ALICE)
    sign_version(layout, web, "kiln/web", BOB)
    evidence = found(layout, web)
    assert evidence.signers == {"alice", "bob"}
    assert told(evidence) == {(1, frozenset({"alice", "bob"}))}


def test_a_newer_statement_takes_the_place_of_the_one_before(layout: Layout) -> None:
    web = image(layout)
    for value in (1, 2):
        keep_statements(layout, web, "web", [Statement(REVIEW, {"v": value})])
        sign_version(layout, web, "kiln/web", ALICE)
    assert told(found(layout, web)) == {(2, frozenset({"alice"}))}
    assert [one.predicate for one in kept_statements(layout, web)] == [{"v": 2}]


def test_two_scanners_have_a_statement_each(layout: Layout) -> None:
    web = image(layout)
    for uri in ("one", "two", "one"):
        keep_statements(layout, web, "web", [Statement(SCANNER, {"scanner": {"uri": uri}})])
    assert len(kept_statements(layout, web)) == 2


def test_a_seal_that_died_between_the_two_tags_is_completed(layout: Layout) -> None:
    web = image(layout)
    keep_statements(layout, web, "web", [Statement(REVIEW, {"v": 1})])
    sign_version(layout, web, "kiln/web", ALICE)
    whole = layout.tags()
    for kind in ("sig", "att"):
        layout.untag(tag_of(web.manifest.digest, kind))
    assert sign_version(layout, web, "kiln/web", ALICE).changed is True
    assert layout.tags().keys() == whole.keys()


def test_unsigned_statements_have_no_signer(layout: Layout) -> None:
    web = image(layout)
    keep_statements(layout, web, "web", [Statement(REVIEW, {"v": 1})])
    assert told(found(layout, web)) == {(1, frozenset())}


def test_a_key_that_nobody_trusts_counts_for_nothing(layout: Layout) -> None:
    web = image(layout)
    keep_statements(layout, web, "web", [Statement(REVIEW, {"v": 1})])
    sign_version(layout, web, "kiln/web", EVE)
    evidence = found(layout, web)
    assert (evidence.signers, evidence.unknown_signatures) == (frozenset(), 1)
    assert told(evidence) == {(1, frozenset())}


def test_signatures_and_statements_of_another_image_count_for_nothing(layout: Layout) -> None:
    web, other = image(layout), image(layout, "other")
    keep_statements(layout, other, "web", [Statement(REVIEW, {"v": 1})])
    sign_version(layout, other, "kiln/web", ALICE)
    for kind in ("sig", "att", "statements"):
        taken = read_attached(layout, other.index.digest, kind)
        write_attached(layout, web.index.digest, kind, taken)
    evidence = found(layout, web)
    assert (evidence.signers, evidence.attested) == (frozenset(), ())
    assert evidence.unknown_signatures == 1


def test_a_changed_payload_counts_for_nothing(layout: Layout) -> None:
    web = image(layout)
    one = signed_image(ALICE, "kiln/web", web.index.digest)
    changed = one.content.replace(b"kiln/web", b"kiln/wxb")
    forged = type(one)(one.media_type, changed, one.annotations)
    write_attached(layout, web.index.digest, "sig", [forged])
    document = Statement(REVIEW, {"v": 1}).document("web", web.index.digest)
    good = signed_statement(ALICE, document, REVIEW)
    other = signed_statement(EVE, document, REVIEW)
    write_attached(layout, web.index.digest, "att", [other, good])
    evidence = found(layout, web)
    assert evidence.signers == frozenset()
    assert told(evidence) == {(1, frozenset({"alice"}))}
