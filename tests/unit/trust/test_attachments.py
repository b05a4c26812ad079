# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures and attestations beside an image, by cosign's convention."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.references import closure
from ansible_collections.kiln.immutable.plugins.module_utils.oci.statement import Statement
from ansible_collections.kiln.immutable.plugins.module_utils.trust.attachments import (
    Attached,
    attached_tags,
    drop_attached,
    pre_authentication,
    read_attached,
    read_envelope,
    read_envelopes,
    read_signatures,
    signed_image,
    signed_statement,
    statement_documents,
    tag_of,
    write_attached,
)
from ansible_collections.kiln.immutable.plugins.module_utils.trust.keys import generate_key

KEY = generate_key()
INDEX = "sha256:" + "a" * 64
MANIFEST = "sha256:" + "b" * 64
TYPE = "https://example.org/review/v1"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.ensure()
    return made


def test_an_image_signature_is_stored_under_cosigns_tag(layout: Layout) -> None:
    write_attached(layout, INDEX, "sig", [signed_image(KEY, "registry.example.org/web", INDEX)])
    assert list(layout.tags()) == [f"sha256-{'a' * 64}.sig"]
    (found,) = read_signatures(layout, INDEX)
    assert (found.digest, found.reference) == (INDEX, "registry.example.org/web")
    assert KEY.public.verifies(found.signature, found.payload)
    assert json.loads(found.payload)["critical"]["type"] == "cosign container image signature"


def test_an_attestation_signs_the_exact_statement(layout: Layout) -> None:
    documents = statement_documents([Statement(TYPE, {"a": 1})], "web", [INDEX, MANIFEST])
    envelope = signed_statement(KEY, documents[TYPE], TYPE)
    write_attached(layout, INDEX, "att", [envelope])
    (found,) = read_envelopes(layout, INDEX)
    assert found.payload == documents[TYPE]
    assert found.is_by(KEY.public)
    assert not found.is_by(generate_key().public)
    assert found.statement().subjects == (INDEX, MANIFEST)
    assert found.statement().statement == Statement(TYPE, {"a": 1})


def test_what_a_dsse_signature_signs_is_that_of_the_protocols_example() -> None:
    signed = pre_authentication("http://example.com/HelloWorld", b"hello world")
    assert signed == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_the_store_holds_all_that_an_attachment_names(layout: Layout) -> None:
    write_attached(layout, INDEX, "sig", [signed_image(KEY, "web", INDEX)])
    found = closure(layout, layout.tags()[tag_of(INDEX, "sig")].digest)
    assert found.unread == {}
    assert all(layout.has(digest) for digest in found.sizes)


def test_what_is_attached_goes_with_its_image(layout: Layout) -> None:
    for digest in (INDEX, MANIFEST):
        write_attached(layout, digest, "sig", [signed_image(KEY, "web", digest)])
    assert attached_tags(layout, [INDEX, MANIFEST, "sha256:" + "c" * 64]) == [
        tag_of(INDEX, "sig"),
        tag_of(MANIFEST, "sig"),
    ]
    drop_attached(layout, [INDEX])
    assert list(layout.tags()) == [tag_of(MANIFEST, "sig")]


def test_nothing_attached_is_nothing(layout: Layout) -> None:
    assert read_signatures(layout, INDEX) == []
    assert read_envelopes(layout, INDEX) == []


@pytest.mark.parametrize(
    "content",
    [
        b"no json",
        b"[]",
        b'{"payload": "!", "payloadType": "x", "signatures": []}',
        b'{"payload": "", "payloadType": "x"}',
    ],
)
def test_a_malformed_envelope_proves_nothing(content: bytes) -> None:
    assert read_envelope(content) is None


def test_a_signature_that_is_malformed_is_passed_over(layout: Layout) -> None:
    good = signed_image(KEY, "web", INDEX)
    bad = Attached(good.media_type, good.content, {"dev.cosignproject.cosign/signature": "!"})
    write_attached(layout, INDEX, "sig", [bad, good])
    assert len(read_signatures(layout, INDEX)) == 1


def test_a_payload_that_says_nothing_claims_no_image(layout: Layout) -> None:
    odd = Attached(
        "application/vnd.dev.cosign.simplesigning.v1+json",
        b"{}",
        {"dev.cosignproject.cosign/signature": base64.b64encode(KEY.sign(b"{}")).decode()},
    )
    write_attached(layout, INDEX, "sig", [odd])
    (found,) = read_signatures(layout, INDEX)
    assert (found.digest, found.reference) == ("", "")


def test_a_changed_blob_is_not_read(layout: Layout) -> None:
    write_attached(layout, INDEX, "sig", [signed_image(KEY, "web", INDEX)])
    (one,) = read_attached(layout, INDEX, "sig")
    blob = layout.put(one.content, one.media_type)
    path = layout.path(blob.digest)
    path.write_bytes(one.content.replace(b"aaaa", b"aaab"))
    with pytest.raises(DriverError, match="is damaged"):
        read_signatures(layout, INDEX)


def test_a_manifest_of_another_shape_is_refused(layout: Layout) -> None:
    layout.tag(tag_of(INDEX, "sig"), layout.put(b'{"layers": 1}', "x"))
    with pytest.raises(DriverError, match="is malformed"):
        read_signatures(layout, INDEX)
