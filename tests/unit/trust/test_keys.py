# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key pairs: what cosign wrote is read, what is ours is encrypted as cosign's is."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.trust.keys import (
    PublicKey,
    decrypt_key,
    encrypt_key,
    generate_key,
    read_private_key,
)

# Made by cosign 2.5 generate-key-pair, with the passphrase "secret".
COSIGN_KEY = Path(__file__).with_name("cosign.key").read_bytes()
COSIGN_PUBLIC = Path(__file__).with_name("cosign.pub").read_text("ascii")

MINE = generate_key()
FILE = encrypt_key(MINE, b"a passphrase")


def test_a_key_of_cosign_is_read_and_has_the_public_half_that_cosign_gave() -> None:
    key = decrypt_key(COSIGN_KEY, b"secret", "cosign.key")
    assert key.public == PublicKey.read(COSIGN_PUBLIC, "cosign.pub")


def test_a_key_comes_back_from_its_file() -> None:
    key = decrypt_key(FILE, b"a passphrase", "k")
    assert key.public == MINE.public
    assert MINE.public.verifies(key.sign(b"x"), b"x")


def test_two_files_of_one_key_differ_in_salt_and_nonce() -> None:
    assert encrypt_key(MINE, b"a passphrase") != FILE


def test_the_file_holds_what_cosign_expects_and_not_the_key() -> None:
    lines = FILE.decode("ascii").splitlines()
    assert lines[0] == "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----"
    assert lines[-1] == "-----END ENCRYPTED SIGSTORE PRIVATE KEY-----"
    document = json.loads(base64.b64decode("".join(lines[1:-1])))
    assert document["kdf"]["name"] == "scrypt"
    assert document["kdf"]["params"] == {"N": 65536, "r": 8, "p": 1}
    assert document["cipher"]["name"] == "nacl/secretbox"


@pytest.mark.parametrize("wrong", [b"", b"other", b"a passphrase "])
def test_a_wrong_passphrase_is_refused_and_not_repeated(wrong: bytes) -> None:
    with pytest.raises(DriverError, match="passphrase does not open /keys/mine") as raised:
        decrypt_key(FILE, wrong, "/keys/mine.key")
    assert "other" not in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        MINE.public.pem.encode(),
        FILE.replace(b"SIGSTORE", b"OTHER"),
        FILE[:200] + b"\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
    ],
)
def test_what_is_no_key_of_cosign_is_refused(content: bytes) -> None:
    with pytest.raises(DriverError, match="no encrypted private key"):
        decrypt_key(content, b"a passphrase", "k")


def test_a_key_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="signing_key"):
        read_private_key(tmp_path / "none.key", lambda: b"")


def test_a_signature_is_of_its_bytes_and_its_key_only() -> None:
    signature = MINE.sign(b"payload")
    assert MINE.public.verifies(signature, b"payload")
    assert not MINE.public.verifies(signature, b"payloae")
    assert not generate_key().public.verifies(signature, b"payload")
    assert not MINE.public.verifies(b"no signature", b"payload")


def test_a_private_key_does_not_show_itself() -> None:
    assert "PRIVATE" not in repr(MINE)
    assert "ec." not in repr(MINE)


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(DriverError, match=r"team\.pub is no public key"):
        PublicKey.read(text, "team.pub")


def test_the_fingerprint_does_not_depend_on_how_the_file_is_wrapped() -> None:
    again = PublicKey.read("\n" + MINE.public.pem + "\n\n", "x")
    assert again.fingerprint == MINE.public.fingerprint
    assert MINE.public.fingerprint.startswith("sha256:")
