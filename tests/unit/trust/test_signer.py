# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What signs: a key in a file, or a command that asks a KMS."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.trust.keys import (
    encrypt_key,
    generate_key,
)
from ansible_collections.kiln.immutable.plugins.module_utils.trust.signer import (
    CommandSigner,
    SigningSettings,
    command_of,
    passphrase,
)

KEY = generate_key()
FILE = encrypt_key(KEY, b"word")


class Kms:
    """A command that signs as it is told to."""

    def __init__(self, form: str = "der") -> None:
        self.form = form
        self.calls: list[tuple[Sequence[str], bytes]] = []

    def __call__(
        self, argv: Sequence[str], *, stdin: bytes | None = None, **_options: Any
    ) -> Completed:
        payload = stdin or b""
        self.calls.append((argv, payload))
        signature = (generate_key() if self.form == "other" else KEY).sign(payload)
        if self.form == "fails":
            return Completed(3, b"", b"access denied\n")
        if self.form == "base64":
            return Completed(0, base64.encodebytes(signature), b"")
        return Completed(0, b"nonsense" if self.form == "nonsense" else signature, b"")


@pytest.mark.parametrize("form", ["der", "base64"])
def test_a_command_signs_and_gets_the_bytes_on_its_input_only(form: str) -> None:
    kms = Kms(form)
    signature = CommandSigner(KEY.public, ("kms", "sign"), kms).sign(b"payload")
    assert KEY.public.verifies(signature, b"payload")
    assert kms.calls == [(("kms", "sign"), b"payload")]


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ("fails", "exit status 3: access denied"),
        ("other", "is no signature by the key sha256:"),
        ("nonsense", "is no signature by the key sha256:"),
    ],
)
def test_a_command_that_does_not_sign_is_an_error(form: str, sentence: str) -> None:
    with pytest.raises(DriverError, match=sentence):
        CommandSigner(KEY.public, ("kms",), Kms(form)).sign(b"payload")


def test_a_real_command_signs(tmp_path: Path) -> None:
    program = "import sys; sys.stdin.buffer.read(); sys.stdout.write('MAo=')"
    with pytest.raises(DriverError, match="is no signature"):
        CommandSigner(KEY.public, (sys.executable, "-c", program)).sign(b"payload")


def test_a_key_file_signs_with_the_passphrase_of_a_file_or_of_the_environment(
    tmp_path: Path,
) -> None:
    key, word = tmp_path / "k.key", tmp_path / "word"
    key.write_bytes(FILE)
    word.write_text("word\nand more\n", "ascii")
    for settings, environment in (
        (SigningSettings(key=key, passphrase_file=word), dict[str, str]()),
        (SigningSettings(key=key), {"COSIGN_PASSWORD": "word"}),
    ):
        signer = settings.signer(environment)
        assert signer is not None
        assert signer.public == KEY.public


def test_nothing_set_signs_nothing() -> None:
    assert SigningSettings().signer({}) is None


@pytest.mark.parametrize(
    ("settings", "environment", "sentence"),
    [
        (SigningSettings(key=Path("k"), command=("kms",)), {}, "exclude each other"),
        (SigningSettings(command=("kms",)), {}, "needs kiln_signing_public_key"),
        (SigningSettings(key=Path("/none/k")), {}, "/none/k cannot be read"),
    ],
)
def test_settings_that_cannot_sign_say_why(
    settings: SigningSettings, environment: Mapping[str, str], sentence: str
) -> None:
    with pytest.raises(DriverError, match=sentence):
        settings.signer(environment)


def test_a_missing_passphrase_says_where_to_give_it() -> None:
    with pytest.raises(DriverError, match="COSIGN_PASSWORD"):
        passphrase(None, {})
    with pytest.raises(DriverError, match="/none/word cannot be read"):
        passphrase(Path("/none/word"), {})


def test_a_command_is_a_list_or_one_text_without_a_shell() -> None:
    assert command_of(["kms", 1]) == ("kms", "1")  # type: ignore[list-item]  # as YAML gives it
    assert command_of("kms --key 'a b' $HOME") == ("kms", "--key", "a b", "$HOME")
