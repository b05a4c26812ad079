# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statements about images."""

from __future__ import annotations

import json

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.statement import (
    Statement,
    read_statement,
)

DIGEST = "sha256:" + "a" * 64
STATEMENT = Statement("https://slsa.dev/provenance/v1", {"b": 1, "a": [True]})


def test_a_statement_names_its_subject_as_in_toto_asks() -> None:
    document = json.loads(STATEMENT.document("registry.example.org/web", DIGEST))
    assert document == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "registry.example.org/web", "digest": {"sha256": "a" * 64}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {"a": [True], "b": 1},
    }


def test_equal_statements_have_equal_bytes() -> None:
    other = Statement("https://slsa.dev/provenance/v1", {"a": [True], "b": 1})
    assert other.document("web", DIGEST) == STATEMENT.document("web", DIGEST)


def test_a_statement_is_read_back() -> None:
    found = read_statement(STATEMENT.document("web", DIGEST))
    assert found.statement == STATEMENT
    assert found.subjects == (DIGEST,)


@pytest.mark.parametrize(
    "content",
    [
        b"no json",
        b"[]",
        b"{}",
        b'{"_type": "x", "subject": [], "predicateType": "y", "predicate": {}}',
        STATEMENT.document("web", DIGEST).replace(b'"https://slsa.dev/provenance/v1"', b"1"),
        STATEMENT.document("web", DIGEST).replace(b'{"a":[true],"b":1}', b"1"),
        STATEMENT.document("web", DIGEST).replace(b"Statement/v1", b"Statement/v9"),
    ],
)
def test_what_is_no_statement_is_refused(content: bytes) -> None:
    with pytest.raises(DriverError):
        read_statement(content)
