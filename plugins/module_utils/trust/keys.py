# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key pairs for signatures: ECDSA on P-256, the private half encrypted as cosign does it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import os
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import DriverError

# Guarded, so that what never signs works without them, and says which is missing otherwise.
with contextlib.suppress(ImportError):
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

_PRIVATE = "ENCRYPTED SIGSTORE PRIVATE KEY"
_OLD_PRIVATE = "ENCRYPTED COSIGN PRIVATE KEY"
# What cosign 2 writes: 64 MiB of memory for each guess at the passphrase.
_SCRYPT = {"N": 65536, "r": 8, "p": 1}
_SCRYPT_MOST_BYTES = 1 << 29


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The half that verifies.

    :param pem: SubjectPublicKeyInfo in PEM, as ``cosign.pub`` has it.
    """

    pem: str

    @classmethod
    def read(cls, text: str, where: str) -> PublicKey:
        """The key in *text*; DriverError, naming *where* it is from, when it is no key of ours."""
        _loaded_public(text, where)
        return cls(text.strip() + "\n")

    @property
    def fingerprint(self) -> str:
        """``sha256:HEX`` of the key's DER form, which names it whatever its file is called."""
        lines = [line for line in self.pem.splitlines() if line and not line.startswith("-")]
        return "sha256:" + hashlib.sha256(base64.b64decode("".join(lines))).hexdigest()

    def verifies(self, signature: bytes, payload: bytes) -> bool:
        """Say whether *signature* (ECDSA with SHA-256, ASN.1 DER) is of *payload* by this key."""
        key = _loaded_public(self.pem, "a public key")
        try:
            key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """The half that signs. Its text is never shown: not by repr, not in an error."""

    public: PublicKey
    _key: Any = field(repr=False)

    def sign(self, payload: bytes) -> bytes:
        """Return the signature of *payload*: ECDSA with SHA-256, ASN.1 DER."""
        signature: bytes = self._key.sign(payload, ec.ECDSA(hashes.SHA256()))
        return signature


def generate_key() -> PrivateKey:
    """Make a new key pair."""
    return _private(_needed(lambda: ec.generate_private_key(ec.SECP256R1())))


def encrypt_key(key: PrivateKey, passphrase: bytes) -> bytes:
    """Return the private key as a file of cosign's: scrypt, then NaCl's secretbox."""
    from nacl.secret import SecretBox
    from nacl.utils import random

    der = key._key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    salt = os.urandom(32)
    nonce = random(SecretBox.NONCE_SIZE)
    box = SecretBox(_stretched(passphrase, salt, _SCRYPT))
    document = {
        "kdf": {"name": "scrypt", "params": _SCRYPT, "salt": _text(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": _text(nonce)},
        "ciphertext": _text(box.encrypt(der, nonce).ciphertext),
    }
    body = "\n".join(textwrap.wrap(_text(json.dumps(document).encode()), 64))
    return f"-----BEGIN {_PRIVATE}-----\n{body}\n-----END {_PRIVATE}-----\n".encode()


def decrypt_key(content: bytes, passphrase: bytes, where: str) -> PrivateKey:
    """Return the key in a file of cosign's, or of ours.

    :param where: the file, for messages.

    Raises DriverError for another kind of file and for a wrong passphrase.
    """
    document = _document(content, where)
    try:
        salt = base64.b64decode(document["kdf"]["salt"])
        nonce = base64.b64decode(document["cipher"]["nonce"])
        sealed = base64.b64decode(document["ciphertext"])
        names = (document["kdf"]["name"], document["cipher"]["name"])
        params = {name: int(document["kdf"]["params"][name]) for name in ("N", "r", "p")}
    except (LookupError, TypeError, ValueError) as error:
        raise _not_a_key(where) from error
    if names != ("scrypt", "nacl/secretbox"):
        raise DriverError(f"{where} is encrypted with {' and '.join(names)}, which is unknown.")
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    try:
        der = SecretBox(_stretched(passphrase, salt, params)).decrypt(sealed, nonce)
    except (CryptoError, ValueError) as error:
        raise DriverError(
            f"The passphrase does not open {where}.",
            hint="Give it in the environment variable COSIGN_PASSWORD or by"
            " kiln_signing_passphrase_file.",
        ) from error
    try:
        loaded = _needed(lambda: serialization.load_der_private_key(der, None))
    except ValueError as error:
        raise _not_a_key(where) from error
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.curve.name != "secp256r1":
        raise DriverError(f"{where} holds another kind of key than ECDSA on P-256.")
    return _private(loaded)


def read_private_key(path: Path, passphrase: Callable[[], bytes]) -> PrivateKey:
    """Return the key in the file at *path*; DriverError when it cannot be had.

    :param passphrase: asked when the file is there.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DriverError(
            f"The signing key {path} cannot be read: {error.strerror}.",
            hint="Make one with the module kiln.immutable.signing_key.",
        ) from error
    return decrypt_key(content, passphrase(), str(path))


def _private(loaded: Any) -> PrivateKey:
    pem = loaded.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return PrivateKey(PublicKey(pem.decode("ascii")), loaded)


def _loaded_public(text: str, where: str) -> Any:
    try:
        key = _needed(lambda: serialization.load_pem_public_key(text.encode()))
    except ValueError as error:
        raise DriverError(
            f"{where} is no public key in PEM.",
            hint="It begins with -----BEGIN PUBLIC KEY-----, as cosign.pub does.",
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise DriverError(f"{where} is another kind of key than ECDSA on P-256.")
    return key


def _needed(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except NameError as error:
        raise DriverError(
            "Signatures need the Python library cryptography.",
            hint="Install it where Ansible runs: pip install cryptography PyNaCl.",
        ) from error


def _document(content: bytes, where: str) -> dict[str, Any]:
    lines = content.decode("ascii", "replace").split()
    text = " ".join(lines)
    for kind in (_PRIVATE, _OLD_PRIVATE):
        start, end = f"-----BEGIN {kind}-----", f"-----END {kind}-----"
        if text.startswith(start) and text.endswith(end):
            body = text.removeprefix(start).removesuffix(end).replace(" ", "")
            try:
                value = json.loads(base64.b64decode(body, validate=True))
            except (ValueError, binascii.Error) as error:
                raise _not_a_key(where) from error
            if isinstance(value, dict):
                return value
    raise _not_a_key(where)


def _not_a_key(where: str) -> DriverError:
    return DriverError(
        f"{where} is no encrypted private key of cosign's.",
        hint="Make one with the module kiln.immutable.signing_key, or with cosign"
        " generate-key-pair.",
    )


def _stretched(passphrase: bytes, salt: bytes, params: dict[str, int]) -> bytes:
    return hashlib.scrypt(
        passphrase,
        salt=salt,
        n=params["N"],
        r=params["r"],
        p=params["p"],
        maxmem=_SCRYPT_MOST_BYTES,
        dklen=32,
    )


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
