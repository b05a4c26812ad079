# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploads: how many requests, what is repeated when something breaks, and when it is given up."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.oci.damage import DamagedBlob
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import Descriptor
from ansible_collections.kiln.immutable.plugins.module_utils.oci.digest import sha256_bytes
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.access import (
    RegistryError,
)

CONTENT = os.urandom(4500)
BLOB = Descriptor("application/octet-stream", sha256_bytes(CONTENT), len(CONTENT))
SMALL = Descriptor("application/octet-stream", sha256_bytes(b"small"), 5)


def opened() -> BinaryIO:
    return io.BytesIO(CONTENT)


def once(method: str, act: Any, *, after: int = 0) -> Any:
    """Return a fault that lets *act* answer one request of *method*, after some that are well."""
    seen: list[str] = []

    def fault(handler: Any) -> bool:
        if handler.command != method or len(seen) > after:
            return False
        seen.append(handler.path)
        if len(seen) <= after:
            return False
        return bool(act(handler))

    return fault


def refuse(status: int, code: str = "UNKNOWN", **headers: str) -> Any:
    def act(handler: Any) -> bool:
        handler.body()
        handler.refuse(status, code, **headers)
        return True

    return act


def hang_up(handler: Any) -> bool:
    handler.hang_up()
    return True


def keep_half(handler: Any) -> bool:
    """Take the first half of a part, and break the connection."""
    upload = handler.path.split("/")[-1].partition("?")[0]
    half = handler.rfile.read(int(handler.headers["Content-Length"]) // 2)
    handler.store.uploads[upload] += half
    handler.hang_up()
    return True


def test_a_small_blob_goes_in_one_request(fake: Any) -> None:
    sent = fake.client().put_blob(SMALL, lambda: io.BytesIO(b"small"))
    assert (sent.how, sent.wire) == ("sent", 5)
    assert fake.store.blobs == {("team/web", SMALL.digest): b"small"}
    assert [method for method, _path in fake.store.asked] == ["HEAD", "POST", "PUT"]


def test_a_large_blob_goes_in_chunks(fake: Any) -> None:
    sent = fake.client().put_blob(BLOB, opened)
    assert fake.store.blobs["team/web", BLOB.digest] == CONTENT
    assert fake.store.count("PATCH") == 5
    assert sent.wire == BLOB.size == fake.store.received


def test_what_is_there_is_not_sent(fake: Any) -> None:
    fake.store.blobs["team/web", BLOB.digest] = CONTENT
    assert fake.client().put_blob(BLOB, opened).how == "skipped"
    assert fake.store.received == 0


def test_a_blob_of_another_repository_is_mounted(fake: Any) -> None:
    fake.store.blobs["team/base", BLOB.digest] = CONTENT
    sent = fake.client().put_blob(BLOB, opened, mount_from="team/base")
    assert (sent.how, sent.wire) == ("mounted", 0)
    assert fake.store.received == 0
    assert ("team/web", BLOB.digest) in fake.store.blobs


def test_a_blob_that_cannot_be_mounted_is_sent_in_the_session_that_was_opened(fake: Any) -> None:
    assert fake.client().put_blob(BLOB, opened, mount_from="team/base").how == "sent"
    assert fake.store.count("POST") == 1
    assert fake.store.blobs["team/web", BLOB.digest] == CONTENT


def test_a_connection_cut_in_a_chunk_is_taken_up_where_the_registry_was(fake: Any) -> None:
    fake.store.faults.append(once("PATCH", keep_half, after=2))
    sent = fake.client().put_blob(BLOB, opened)
    assert fake.store.blobs["team/web", BLOB.digest] == CONTENT
    assert fake.store.count("POST") == 1
    # Of the third chunk one half was not sent again.
    assert sent.wire == BLOB.size + 500


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_a_moments_trouble_is_waited_out(fake: Any, status: int) -> None:
    fake.store.faults.append(once("PATCH", refuse(status), after=1))
    fake.client().put_blob(BLOB, opened)
    assert fake.store.blobs["team/web", BLOB.digest] == CONTENT
    assert fake.clock.slept == [0.5]


def test_too_many_requests_wait_for_as_long_as_the_registry_says(fake: Any) -> None:
    fake.store.faults.append(once("HEAD", refuse(429, Retry_After="17")))
    fake.client().put_blob(BLOB, opened)
    assert fake.clock.slept == [17]


def test_a_registry_that_wants_an_hour_is_not_waited_for(fake: Any) -> None:
    fake.store.faults.append(once("HEAD", refuse(429, "TOOMANYREQUESTS", Retry_After="3600")))
    with pytest.raises(RegistryError, match="answered 429 to HEAD"):
        fake.client().put_blob(BLOB, opened)
    assert fake.clock.slept == []


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT"])
def test_a_connection_that_breaks_is_made_again(fake: Any, method: str) -> None:
    fake.store.faults.append(once(method, hang_up))
    fake.client().put_blob(SMALL, lambda: io.BytesIO(b"small"))
    assert fake.store.blobs["team/web", SMALL.digest] == b"small"


def test_a_lost_answer_to_the_last_request_is_no_second_upload(fake: Any) -> None:
    def keep_and_hang_up(handler: Any) -> bool:
        handler.store.blobs["team/web", BLOB.digest] = CONTENT
        handler.store.uploads.clear()
        handler.hang_up()
        return True

    fake.store.faults.append(once("PUT", keep_and_hang_up))
    sent = fake.client().put_blob(BLOB, opened)
    assert sent.wire == BLOB.size
    assert fake.store.count("POST") == 1


def test_an_upload_that_the_registry_forgot_is_begun_anew(fake: Any) -> None:
    def forget(handler: Any) -> bool:
        handler.store.uploads.clear()
        return False

    fake.store.faults.append(once("PATCH", forget, after=3))
    fake.client().put_blob(BLOB, opened)
    assert fake.store.blobs["team/web", BLOB.digest] == CONTENT
    assert fake.store.count("POST") == 2


def test_trouble_that_stays_ends_after_five_attempts(fake: Any) -> None:
    fake.store.faults.append(lambda handler: handler.command == "POST" and refuse(503)(handler))
    with pytest.raises(RegistryError, match=r"503.*It was tried 5 times\."):
        fake.client().put_blob(BLOB, opened)
    assert fake.clock.slept == [0.5, 1, 2, 4]


@pytest.mark.parametrize(("status", "code"), [(400, "DIGEST_INVALID"), (403, "DENIED"), (507, "X")])
def test_a_refusal_is_not_repeated(fake: Any, status: int, code: str) -> None:
    fake.store.faults.append(once("PUT", refuse(status, code)))
    with pytest.raises(RegistryError, match=f"{status} {code}") as caught:
        fake.client().put_blob(BLOB, opened)
    assert caught.value.status == status
    assert fake.clock.slept == []
    assert fake.store.count("PUT") == 1


def test_a_registry_that_takes_little_at_once_is_given_less(fake: Any) -> None:
    fake.store.limit = 4 << 20
    content = os.urandom(9 << 20)
    blob = Descriptor("x", sha256_bytes(content), len(content))
    fake.client(chunk=16 << 20).put_blob(blob, lambda: io.BytesIO(content))
    assert fake.store.blobs["team/web", blob.digest] == content
    assert fake.store.count("PATCH") == 3


def test_a_least_size_of_chunks_is_kept(fake: Any) -> None:
    def least(handler: Any) -> bool:
        handler.body()
        handler.store.uploads["one"] = b""
        location = "/v2/team/web/blobs/uploads/one"
        handler.answer(202, Location=location, OCI_Chunk_Min_Length="2000")
        return True

    fake.store.faults.append(once("POST", least))
    fake.client().put_blob(BLOB, opened)
    assert fake.store.count("PATCH") == 3


def test_a_blob_that_is_damaged_here_never_becomes_one_there(fake: Any, shop: Any) -> None:
    blob = shop.blob(CONTENT)
    path = shop.layout.path(blob.digest)
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    with pytest.raises(DamagedBlob):
        fake.client().put_blob(blob, lambda: shop.layout.open(blob))
    assert fake.store.blobs == {}
    assert fake.store.uploads == {}


def test_an_upload_is_never_led_away_from_tls(fake_tls: Any) -> None:
    def lead(host: str) -> Any:
        def act(handler: Any) -> bool:
            handler.body()
            handler.store.uploads["one"] = b""
            path = "/v2/team/web/blobs/uploads/one"
            handler.answer(202, Location=f"http://{host}{path}")
            return True

        return act

    fake_tls.store.faults[:] = [once("POST", lead("elsewhere.test"))]
    with pytest.raises(RegistryError, match="without TLS"):
        fake_tls.client().put_blob(SMALL, lambda: io.BytesIO(b"small"))
    # A registry behind a proxy that does not tell it of TLS means its own host.
    fake_tls.store.faults[:] = [once("POST", lead("127.0.0.1"))]
    fake_tls.client().put_blob(SMALL, lambda: io.BytesIO(b"small"))
    assert fake_tls.store.blobs["team/web", SMALL.digest] == b"small"
