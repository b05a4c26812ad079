# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provenance in the form of SLSA."""

from __future__ import annotations

from ansible_collections.kiln.immutable.plugins.module_utils.trust.provenance import (
    Build,
    Material,
    provenance,
)

DIGEST = "sha256:" + "a" * 64


def test_provenance_has_what_slsa_asks_for() -> None:
    made = provenance(
        Build(
            parameters={"name": "web"},
            materials=[
                Material("definition", DIGEST, annotations={"revision": "abc"}),
                Material("source", "gitCommit:abc", uri="git+https://example.org/x"),
                Material("collection kiln.immutable"),
            ],
            builder="https://ci.example.org/runner",
            versions={"ansible-core": "2.19"},
            bake_key=DIGEST,
            started="2027-01-15T08:00:00Z",
            finished="2027-01-15T08:01:00Z",
        )
    )
    assert made.predicate_type == "https://slsa.dev/provenance/v1"
    definition = made.predicate["buildDefinition"]
    assert definition["externalParameters"] == {"name": "web"}
    assert definition["resolvedDependencies"] == [
        {"name": "definition", "digest": {"sha256": "a" * 64}, "annotations": {"revision": "abc"}},
        {
            "name": "source",
            "uri": "git+https://example.org/x",
            "digest": {"gitCommit": "abc"},
        },
        {"name": "collection kiln.immutable"},
    ]
    details = made.predicate["runDetails"]
    assert details["builder"]["id"] == "https://ci.example.org/runner"
    assert details["metadata"] == {
        "invocationId": DIGEST,
        "startedOn": "2027-01-15T08:00:00Z",
        "finishedOn": "2027-01-15T08:01:00Z",
    }
