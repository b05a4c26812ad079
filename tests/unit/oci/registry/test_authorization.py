# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is let in, and who never learns our credentials."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import Descriptor
from ansible_collections.kiln.immutable.plugins.module_utils.oci.digest import sha256_bytes
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.access import (
    Access,
    RegistryError,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.certificates import (
    client_context,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.client import connect
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.credentials import (
    Credentials,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.name import Repository
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.tokens import (
    Challenge,
    parse_challenges,
)

ANN = Credentials("ann", "secret")
SMALL = Descriptor("application/octet-stream", sha256_bytes(b"small"), 5)


def put(client: Any) -> None:
    client.put_blob(SMALL, lambda: io.BytesIO(b"small"))


def test_a_password_opens_a_registry_of_basic_authentication(fake_tls: Any) -> None:
    fake_tls.store.users = {"ann": "secret"}
    put(fake_tls.client(credentials=ANN))
    assert ("team/web", SMALL.digest) in fake_tls.store.blobs
    # It is asked for once, and sent at once from then on.
    assert fake_tls.store.authorizations.count("") == 1


def test_a_token_is_got_for_what_is_needed_and_used_again(fake_tls: Any) -> None:
    fake_tls.store.users, fake_tls.store.with_tokens = {"ann": "secret"}, True
    client = fake_tls.client(credentials=ANN)
    put(client)
    assert client.has_blob(SMALL)
    assert fake_tls.store.count("GET", "/token") == 2
    assert sorted(map(sorted, fake_tls.store.tokens.values())) == [
        ["repository:team/web:pull"],
        ["repository:team/web:pull", "repository:team/web:pull,push"],
    ]


def test_a_token_for_a_mount_covers_the_other_repository(fake_tls: Any) -> None:
    fake_tls.store.users, fake_tls.store.with_tokens = {"ann": "secret"}, True
    fake_tls.store.blobs["team/base", SMALL.digest] = b"small"
    client = fake_tls.client(credentials=ANN)
    assert client.put_blob(SMALL, lambda: io.BytesIO(b""), mount_from="team/base").how == "mounted"
    assert any("repository:team/base:pull" in scopes for scopes in fake_tls.store.tokens.values())


def test_a_token_that_expires_in_an_upload_is_renewed(fake_tls: Any) -> None:
    fake_tls.store.users, fake_tls.store.with_tokens = {"ann": "secret"}, True
    content = b"x" * 4500
    blob = Descriptor("x", sha256_bytes(content), len(content))

    def revoke(handler: Any) -> bool:
        if handler.command == "PATCH":
            handler.store.tokens.clear()
            handler.store.faults.clear()
        return False

    fake_tls.store.faults.append(revoke)
    sent = fake_tls.client(credentials=ANN).put_blob(blob, lambda: io.BytesIO(content))
    assert fake_tls.store.blobs["team/web", blob.digest] == content
    # One was refused, for want of a token for writing.
    assert fake_tls.store.count("POST", "uploads") == 2
    assert sent.wire == blob.size + 1000


def test_a_token_is_not_used_to_its_last_second(fake_tls: Any) -> None:
    fake_tls.store.users, fake_tls.store.with_tokens = {"ann": "secret"}, True
    client = fake_tls.client(credentials=ANN)
    client.has_blob(SMALL)
    fake_tls.clock.now += 260
    client.has_blob(SMALL)
    assert fake_tls.store.count("GET", "/token") == 1
    fake_tls.clock.now += 20
    client.has_blob(SMALL)
    assert fake_tls.store.count("GET", "/token") == 2


def test_an_identity_token_is_exchanged(fake_tls: Any) -> None:
    fake_tls.store.users, fake_tls.store.with_tokens = {"<token>": "long-lived"}, True
    put(fake_tls.client(credentials=Credentials(identity_token="long-lived")))
    assert fake_tls.store.count("POST", "/token") == 2


@pytest.mark.parametrize("with_tokens", [False, True])
def test_a_wrong_password_is_said_once_and_with_what_to_do(
    fake_tls: Any, with_tokens: bool
) -> None:
    fake_tls.store.users, fake_tls.store.with_tokens = {"ann": "other"}, with_tokens
    with pytest.raises(RegistryError) as caught:
        put(fake_tls.client(credentials=ANN))
    assert "as ann" in str(caught.value)
    assert f"docker login {fake_tls.host}" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert fake_tls.clock.slept == []


def test_who_has_not_logged_in_is_told_so(fake_tls: Any) -> None:
    fake_tls.store.users = {"ann": "secret"}
    with pytest.raises(RegistryError, match="lets nobody in without credentials"):
        put(fake_tls.client())


@pytest.mark.parametrize("with_tokens", [False, True])
def test_credentials_are_never_sent_without_tls(fake: Any, with_tokens: bool) -> None:
    fake.store.users, fake.store.with_tokens = {"ann": "secret"}, with_tokens
    with pytest.raises(RegistryError, match="never sent without TLS"):
        put(fake.client(credentials=ANN))
    assert set(fake.store.authorizations) == {""}


def test_a_realm_without_tls_gets_nothing(fake: Any, fake_tls: Any) -> None:
    fake_tls.store.users, fake_tls.store.with_tokens = {"ann": "secret"}, True
    fake_tls.store.url = fake.store.url
    with pytest.raises(RegistryError, match="not under TLS"):
        put(fake_tls.client(credentials=ANN))
    assert fake.store.asked == []


def test_a_redirect_to_another_host_carries_no_credentials(fake_tls: Any) -> None:
    fake_tls.store.users = {"ann": "secret"}
    seen: list[str] = []

    def lead(handler: Any) -> bool:
        if handler.headers["Host"].startswith("localhost"):
            seen.append(handler.headers.get("Authorization"))
            handler.answer(200)
            return True
        if handler.headers.get("Authorization"):
            host = handler.headers["Host"].replace("127.0.0.1", "localhost")
            handler.answer(307, Location=f"https://{host}/elsewhere")
            return True
        return False

    fake_tls.store.faults.append(lead)
    assert fake_tls.client(credentials=ANN).has_blob(SMALL) is False
    assert seen == [None]


def test_a_redirect_away_from_tls_is_not_followed(fake: Any, fake_tls: Any) -> None:
    fake_tls.store.faults.append(
        lambda handler: handler.answer(307, Location=f"{fake.store.url}/v2/") or True
    )
    with pytest.raises(RegistryError, match="from TLS to"):
        fake_tls.client().has_blob(SMALL)
    assert fake.store.asked == []


def test_a_certificate_that_is_not_trusted_is_no_matter_of_attempts(fake_tls: Any) -> None:
    with pytest.raises(RegistryError, match="is not trusted: self-signed certificate") as caught:
        put(fake_tls.client(ca=None))
    assert "kiln_registry_ca" in caught.value.hint
    assert fake_tls.clock.slept == []
    assert fake_tls.store.asked == []


def test_a_host_on_this_machine_is_spoken_to_as_it_speaks(fake: Any, fake_tls: Any) -> None:
    for one, scheme in ((fake_tls, "https"),):
        client = connect(Repository(one.host, "x"), Access(ca=one.ca), clock=one.clock)
        assert client.transport.base == f"{scheme}://{one.host}"
        assert client.tags() == []


def test_http_to_others_must_be_asked_for() -> None:
    with pytest.raises(DriverError, match="kiln_registry_plain_http"):
        connect(Repository.parse("http://registry.example.org/x"))
    asked = connect(Repository.parse("registry.example.org/x"), Access(plain_http=True))
    assert asked.transport.base == "http://registry.example.org"
    spelled = connect(Repository.parse("https://registry.example.org/x"), Access(plain_http=True))
    assert spelled.transport.base == "https://registry.example.org"


def test_no_plain_http_is_what_is_meant_by_default() -> None:
    assert connect(Repository.parse("registry.example.org/x")).transport.base == (
        "https://registry.example.org"
    )


def test_dockers_certificates_are_used(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "certs.d" / "registry.example.org:8443"
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(certificate[0].read_bytes())
    (folder / "client.cert").write_bytes(certificate[0].read_bytes())
    (folder / "client.key").write_bytes(certificate[1].read_bytes())
    names = [
        str(one)
        for host in ("registry.example.org:8443", "registry.example.org")
        for one in client_context(host, None, tmp_path / "certs.d").get_ca_certs()
    ]
    assert sum("kiln test" in name for name in names) == 1
    (folder / "client.key").write_text("nothing")
    with pytest.raises(DriverError, match=re.escape(str(folder / "client.cert"))):
        client_context("registry.example.org:8443", None, tmp_path / "certs.d")


def test_a_file_of_certificates_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"nowhere\.pem holds no certificates"):
        client_context("registry.example.org", tmp_path / "nowhere.pem")


def test_challenges_are_read_as_they_come() -> None:
    header = (
        'Bearer realm="https://auth.example.org/token",service="r",scope="repository:a:pull,push",'
        'Basic realm="a \\"quoted\\" one"'
    )
    assert parse_challenges(header) == [
        Challenge(
            "bearer",
            {
                "realm": "https://auth.example.org/token",
                "service": "r",
                "scope": "repository:a:pull,push",
            },
        ),
        Challenge("basic", {"realm": 'a "quoted" one'}),
    ]
    assert parse_challenges("") == []
    assert parse_challenges("=,;") == []
