# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading: bytes that are verified, downloads that go on, documents kept as they are."""

from __future__ import annotations

import os
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import INDEX, Descriptor
from ansible_collections.kiln.immutable.plugins.module_utils.oci.digest import sha256_bytes
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.access import (
    RegistryError,
    WrongContent,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.client import Document

CONTENT = os.urandom(200_000)
BLOB = Descriptor("application/octet-stream", sha256_bytes(CONTENT), len(CONTENT))


@pytest.fixture(autouse=True)
def _there(fake: Any) -> None:
    fake.store.blobs["team/web", BLOB.digest] = CONTENT


def read(fake: Any, blob: Descriptor = BLOB) -> bytes:
    with fake.client().open_blob(blob) as stream:
        content: bytes = stream.read()
    return content


def cut(times: int, keep: int) -> Any:
    """Return a fault that breaks off *times* downloads after *keep* bytes of each."""
    left = [times]

    def fault(handler: Any) -> bool:
        if handler.command != "GET" or not left[0]:
            return False
        left[0] -= 1
        first = int(handler.headers.get("Range", "bytes=0-")[6:-1]) if handler.store.ranges else 0
        handler.send_response(206 if first else 200)
        handler.send_header("Content-Length", str(len(CONTENT) - first))
        handler.end_headers()
        handler.wfile.write(CONTENT[first : first + keep])
        handler.hang_up()
        return True

    return fault


def test_a_blob_comes_as_it_is(fake: Any) -> None:
    assert read(fake) == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_off_goes_on(fake: Any, ranges: bool) -> None:
    fake.store.ranges = ranges
    fake.store.faults.append(cut(2, 70_000))
    assert read(fake) == CONTENT
    assert fake.store.count("GET") == 3


def test_a_download_that_always_breaks_off_is_given_up(fake: Any) -> None:
    fake.store.faults.append(cut(99, 0))
    with pytest.raises(RegistryError, match=r"It was tried 5 times\."):
        read(fake)


def test_wrong_bytes_are_caught_and_not_asked_for_again(fake: Any) -> None:
    fake.store.blobs["team/web", BLOB.digest] = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(WrongContent, match=f"Blob {BLOB.digest} of .*team/web is not what it says"):
        read(fake)
    assert fake.store.count("GET") == 1


def test_a_wrong_size_is_caught_before_anything_is_read(fake: Any) -> None:
    fake.store.blobs["team/web", BLOB.digest] = CONTENT + b"more"
    with pytest.raises(WrongContent, match="it has 200004 bytes instead of 200000"):
        read(fake)


def test_a_blob_that_is_not_there_is_an_error(fake: Any) -> None:
    with pytest.raises(RegistryError, match="404 BLOB_UNKNOWN"):
        read(fake, Descriptor("x", "sha256:" + "0" * 64, 5))


def document(content: bytes) -> Document:
    return Document(Descriptor(INDEX, sha256_bytes(content), len(content)), content)


def test_a_manifest_is_kept_to_the_byte(fake: Any) -> None:
    odd = document(b'{ "schemaVersion":2,\n "manifests": [] }\n')
    client = fake.client()
    client.put(odd, "1.0.1")
    assert client.fetch("1.0.1") == odd
    assert client.fetch(odd.descriptor.digest) == odd
    assert client.resolve("1.0.1") == odd.descriptor


def test_a_manifest_that_is_not_its_digest_is_refused(fake: Any) -> None:
    one, other = document(b'{"a": 1}'), document(b'{"a": 2}')
    client = fake.client()
    client.put(one)
    fake.store.manifests["team/web", one.descriptor.digest] = (INDEX, other.content)
    with pytest.raises(WrongContent):
        client.fetch(one.descriptor.digest)


def test_only_not_found_means_absent(fake: Any) -> None:
    client = fake.client()
    assert client.fetch("1.0.1") is None
    assert client.resolve("1.0.1") is None
    fake.store.faults.append(lambda handler: handler.refuse(403, "DENIED") or True)
    for ask in (client.fetch, client.resolve):
        with pytest.raises(RegistryError, match="403"):
            ask("1.0.1")
    with pytest.raises(RegistryError, match="403"):
        client.has_blob(BLOB)
    with pytest.raises(RegistryError, match="403"):
        client.tags()


def test_all_pages_of_tags_are_read(fake: Any) -> None:
    client = fake.client()
    for number in range(7):
        client.put(document(b'{"n": %d}' % number), f"1.0.{number}")
    assert client.tags() == [f"1.0.{number}" for number in range(7)]
    assert fake.store.count("GET", "tags/list") == 4


def test_referrers_are_listed_under_the_tag_of_the_fallback(fake: Any) -> None:
    client = fake.client()
    subject = "sha256:" + "1" * 64
    assert client.referrers(subject) == []
    entries = [Descriptor(INDEX, sha256_bytes(b"%d" % n), 1) for n in range(2)]
    for entry in (*entries, entries[0]):
        client.add_referrer(subject, entry.as_json())
    assert client.referrers(subject) == entries
    assert client.tags() == ["sha256-" + "1" * 64]


def test_a_blob_may_be_kept_by_another_host_which_gets_no_credentials(fake: Any) -> None:
    def lead(handler: Any) -> bool:
        if "/blobs/" not in handler.path:
            return False
        host = handler.headers["Host"].replace("127.0.0.1", "localhost")
        handler.answer(307, Location=f"http://{host}/v2/team/web/blobs/{BLOB.digest}?signed=1")
        handler.store.faults.clear()
        return True

    fake.store.faults.append(lead)
    assert read(fake) == CONTENT
