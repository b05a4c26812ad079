# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests and descriptors: what is accepted, what is refused."""

from __future__ import annotations

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci import digest
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import (
    MANIFEST,
    Descriptor,
)

HEX = "ab" * 32


def test_a_digest_is_split_into_algorithm_and_value() -> None:
    assert digest.parse("sha256:" + HEX) == ("sha256", HEX)
    assert digest.parse("sha512:" + HEX * 2) == ("sha512", HEX * 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        HEX,
        "sha256:" + HEX[1:],
        "sha256:" + HEX.upper(),
        "sha256:" + HEX + "\n",
        "sha256:../" + HEX[3:],
        "sha512:" + HEX,
        "md5:" + HEX[:32],
    ],
)
def test_a_malformed_digest_is_refused_and_shown(text: str) -> None:
    with pytest.raises(DriverError, match="is not a digest") as caught:
        digest.parse(text)
    assert repr(text) in caught.value.message


def test_text_and_bytes_have_the_digest_of_their_bytes() -> None:
    empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest.sha256_bytes(b"") == digest.sha256_text("") == empty
    assert digest.sha256_text("\udcff") == digest.sha256_bytes(b"\xff")


def test_a_descriptor_survives_json() -> None:
    plain = Descriptor(MANIFEST, "sha256:" + HEX, 7)
    full = Descriptor(MANIFEST, "sha256:" + HEX, 7, {"a": "b"}, {"os": "linux"})
    assert plain.as_json() == {"mediaType": MANIFEST, "digest": "sha256:" + HEX, "size": 7}
    assert Descriptor.from_json(plain.as_json()) == plain
    assert Descriptor.from_json(full.as_json()) == full
    assert len({plain, full}) == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"mediaType": None},
        {"digest": "sha256:1"},
        {"size": -1},
        {"size": True},
        {"size": "7"},
        {"annotations": {"a": 1}},
        {"platform": "linux/amd64"},
    ],
)
def test_a_malformed_descriptor_is_refused(changed: dict[str, object]) -> None:
    value = {**Descriptor(MANIFEST, "sha256:" + HEX, 7).as_json(), **changed}
    with pytest.raises(DriverError):
        Descriptor.from_json(value)


def test_a_descriptor_must_be_an_object() -> None:
    with pytest.raises(DriverError, match="must be a JSON object"):
        Descriptor.from_json([])
