# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes signatures: a key on disk, or a command that asks a KMS or an HSM for them."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..core.command import Runner, last_lines, run
from ..core.errors import DriverError
from .keys import PublicKey, read_private_key

ENVIRONMENT = "COSIGN_PASSWORD"
"""The variable that a passphrase is taken from, the one that cosign reads too."""

_COMMAND_SECONDS = 120.0
_MARKERS = re.compile(rb"^\s*-+(BEGIN|END)[^-]*-+\s*$", re.MULTILINE)


class Signer(Protocol):
    """Signs with one key, wherever that is."""

    @property
    def public(self) -> PublicKey: ...

    def sign(self, payload: bytes, /) -> bytes:
        """Return the signature of *payload*: ECDSA with SHA-256, ASN.1 DER."""


@dataclass(frozen=True, slots=True)
class CommandSigner:
    """A key that never leaves its KMS or HSM: *argv* gets what is to be signed and answers.

    The command reads the bytes from its standard input, and writes the signature, ECDSA with
    SHA-256 over them in ASN.1 DER, as it is or in base64.
    """

    public: PublicKey
    argv: tuple[str, ...]
    runner: Runner = run

    def sign(self, payload: bytes) -> bytes:
        """Ask the command; DriverError when it fails or what it answers is no signature."""
        done = self.runner(self.argv, stdin=payload, check=False, timeout=_COMMAND_SECONDS)
        if done.status != 0:
            raise DriverError(
                f"The signing command {self.argv[0]} failed with exit status {done.status}:"
                f" {last_lines(done)}"
            )
        signature = _decoded(done.stdout)
        if not self.public.verifies(signature, payload):
            raise DriverError(
                f"What the signing command {self.argv[0]} answered is no signature by the key"
                f" {self.public.fingerprint}.",
                hint="It must sign the bytes of its standard input with ECDSA and SHA-256, and"
                " write the signature in ASN.1 DER, or that in base64. kiln_signing_public_key"
                " must be its public key.",
            )
        return signature


def _decoded(answer: bytes) -> bytes:
    if answer.startswith(b"\x30"):
        return answer
    try:
        return base64.b64decode(b"".join(_MARKERS.sub(b"", answer).split()), validate=True)
    except binascii.Error:
        return answer


@dataclass(frozen=True, slots=True)
class SigningSettings:
    """How a user says what signs.

    :param key: file with an encrypted private key.
    :param command: of a KMS or HSM, instead of a key; then *public_key*, a file, is needed.
    :param passphrase_file: holds the key's passphrase on its first line.
    """

    key: Path | None = None
    command: tuple[str, ...] = ()
    public_key: Path | None = None
    passphrase_file: Path | None = None

    def signer(self, environment: Mapping[str, str] | None = None) -> Signer | None:
        """Return what signs, None when nothing is set; DriverError when it cannot be had."""
        if self.key is not None and self.command:
            raise DriverError("kiln_signing_key and kiln_signing_command exclude each other.")
        if self.command:
            if self.public_key is None:
                raise DriverError(
                    "kiln_signing_command needs kiln_signing_public_key.",
                    hint="Name the file with the public key of what the command signs with.",
                )
            return CommandSigner(read_public_key(self.public_key), self.command)
        if self.key is None:
            return None
        return read_private_key(
            self.key.expanduser(), lambda: passphrase(self.passphrase_file, environment)
        )


def passphrase(file: Path | None, environment: Mapping[str, str] | None = None) -> bytes:
    """Return the passphrase from *file*, else from COSIGN_PASSWORD; DriverError without one."""
    if file is not None:
        try:
            lines = file.expanduser().read_bytes().splitlines()
        except OSError as error:
            raise DriverError(
                f"The passphrase file {file} cannot be read: {error.strerror}."
            ) from error
        return lines[0] if lines else b""
    given = (os.environ if environment is None else environment).get(ENVIRONMENT)
    if given is None:
        raise DriverError(
            "There is no passphrase for the signing key.",
            hint=f"Set the environment variable {ENVIRONMENT}, or name a file that holds it"
            " (kiln_signing_passphrase_file).",
        )
    return os.fsencode(given)


def read_public_key(path: Path) -> PublicKey:
    """Return the public key in the file at *path*; DriverError when it is none."""
    try:
        text = path.expanduser().read_text("ascii", "replace")
    except OSError as error:
        raise DriverError(f"The public key {path} cannot be read: {error.strerror}.") from error
    return PublicKey.read(text, str(path))


def command_of(value: str | Sequence[str]) -> tuple[str, ...]:
    """Return the words of a command that a user gave as a list, or as one text without a shell."""
    import shlex

    return tuple(shlex.split(value)) if isinstance(value, str) else tuple(map(str, value))
