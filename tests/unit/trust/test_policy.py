# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies: every rule that fails is told, and what is not proved does not count."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci import predicates
from ansible_collections.kiln.immutable.plugins.module_utils.oci.statement import Statement
from ansible_collections.kiln.immutable.plugins.module_utils.trust.evidence import (
    Attested,
    Evidence,
    Lineage,
)
from ansible_collections.kiln.immutable.plugins.module_utils.trust.keys import generate_key
from ansible_collections.kiln.immutable.plugins.module_utils.trust.policy import Policy, evaluate
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000.0
DAY = 86400.0
ALICE, BOB = generate_key().public.pem, generate_key().public.pem
FULL = {
    "signers": {"keys": {"alice": ALICE, "bob": BOB}, "threshold": 2},
    "attestations": {
        "tests": True,
        "hardening": {
            "profile": "cis_level1_server",
            "minimum_score": 80,
            "maximum_failed": 2,
        },
        "lynis": {"minimum_index": 70},
        "vulnerabilities": {"maximum": 0, "maximum_age_days": 7},
        "secrets": True,
        "sbom": True,
        "provenance": True,
        "exposure": {"maximum_setuid": 3, "maximum_unpackaged": 0, "maximum_listening": 2},
        "review": {"type": "https://example.org/review/v1", "where": {"approved": True}},
    },
    "maximum_age_days": 30,
    "base_channel": "prod",
}
BOTH = frozenset({"alice", "bob"})
CLEAN: dict[str, dict[str, Any]] = {
    predicates.TEST_RESULT: {"result": "PASSED"},
    predicates.HARDENING: {"profile": "cis_level1_server", "score": 80, "counts": {"failed": 2}},
    predicates.LYNIS: {"hardening_index": 70},
    predicates.VULNERABILITIES: {
        "status": "complete",
        "fixable": 0,
        "scanned": "2027-01-14T08:00:00Z",
    },
    predicates.SECRETS: {"found": 0},
    predicates.SPDX: {},
    predicates.PROVENANCE: {},
    predicates.EXPOSURE: {
        "counts": {
            "setuid": 3,
            "world_writable": 0,
            "unowned": 0,
            "unpackaged": 0,
            "listening": 2,
        }
    },
    "https://example.org/review/v1": {"approved": True},
}


def hardening(**changes: Any) -> dict[str, Any]:
    """Return what OpenSCAP is said to have found, with *changes*."""
    return {**CLEAN[predicates.HARDENING], **changes}


def policy(**changes: Any) -> Policy:
    return Policy.from_document({**FULL, **changes}, "channels.yml")


def evidence(predicates_: dict[str, Any] | None = None, **changes: Any) -> Evidence:
    statements = {**CLEAN, **(predicates_ or {})}
    values: dict[str, Any] = {
        "created": NOW - 3 * DAY,
        "now": NOW,
        "signers": BOTH,
        "attested": tuple(
            Attested(Statement(kind, predicate), BOTH)
            for kind, predicate in statements.items()
            if predicate is not None
        ),
        "lineage": Lineage("server 1.0.3", frozenset({"prod"})),
    }
    return Evidence(**{**values, **changes})


def rules(found: Evidence, asked: Policy | None = None) -> list[str]:
    return [failure.rule for failure in evaluate(asked or policy(), found)]


def test_a_version_that_shows_all_passes() -> None:
    assert evaluate(policy(), evidence()) == ()


def test_a_hardening_attestation_must_be_clean_unless_the_policy_allows_failures() -> None:
    plain = Policy.from_document({"attestations": {"hardening": True}}, "channels.yml")
    clean = hardening(counts={"failed": 0, "waived": 4}, score=93.1, profile="standard")
    assert rules(evidence({predicates.HARDENING: clean}), plain) == []
    assert rules(evidence(), plain) == ["attestations.hardening"]
    assert rules(evidence({predicates.HARDENING: None}), plain) == ["attestations.hardening"]


def test_no_policy_asks_for_nothing() -> None:
    assert evaluate(Policy.from_document({}, "x"), evidence(signers=frozenset(), attested=())) == ()


def test_every_rule_that_fails_is_told() -> None:
    nothing = Evidence(
        created=NOW - 99 * DAY,
        now=NOW,
        unknown_signatures=1,
        lineage=Lineage(revoked=("It is revoked (leak).",)),
    )
    assert rules(nothing) == [
        "signers",
        "attestations.tests",
        "attestations.hardening",
        "attestations.lynis",
        "attestations.vulnerabilities",
        "attestations.secrets",
        "attestations.sbom",
        "attestations.provenance",
        "attestations.exposure",
        "attestations.review",
        "maximum_age",
        "base_channel",
        "revoked",
    ]


@pytest.mark.parametrize(
    ("kind", "predicate", "rule"),
    [
        (predicates.TEST_RESULT, {"result": "FAILED"}, "tests"),
        (predicates.TEST_RESULT, {}, "tests"),
        (predicates.HARDENING, hardening(score=79.9), "hardening"),
        (predicates.HARDENING, hardening(score="100"), "hardening"),
        (predicates.HARDENING, hardening(score=True), "hardening"),
        (predicates.HARDENING, hardening(counts={"failed": 3}), "hardening"),
        (predicates.HARDENING, hardening(profile="standard"), "hardening"),
        (predicates.HARDENING, hardening(profile=None), "hardening"),
        (predicates.LYNIS, {"hardening_index": 69}, "lynis"),
        (predicates.SECRETS, {"found": 1}, "secrets"),
        *(
            (
                predicates.EXPOSURE,
                {"counts": {**CLEAN[predicates.EXPOSURE]["counts"], name: 4}},
                "exposure",
            )
            for name in ("setuid", "world_writable", "unowned", "unpackaged", "listening")
        ),
        ("https://example.org/review/v1", {"approved": False}, "review"),
        ("https://example.org/review/v1", {"approved": "true"}, "review"),
    ],
)
def test_an_attestation_must_say_what_the_policy_asks_for(
    kind: str, predicate: dict[str, Any], rule: str
) -> None:
    assert rules(evidence({kind: predicate})) == [f"attestations.{rule}"]


@pytest.mark.parametrize(
    "predicate",
    [
        {"status": "complete", "fixable": 1, "scanned": "2027-01-14T08:00:00Z"},
        {"status": "unknown", "fixable": 0, "scanned": "2027-01-14T08:00:00Z"},
        {"status": "complete", "fixable": 0, "scanned": "2027-01-01T08:00:00Z"},
        {"status": "complete", "fixable": 0},
    ],
)
def test_vulnerabilities_must_be_none_known_and_known_lately(predicate: dict[str, Any]) -> None:
    found = rules(evidence({predicates.VULNERABILITIES: predicate}))
    assert set(found) == {"attestations.vulnerabilities"}


def scan(fixable: int, scanned: str) -> Attested:
    return Attested(
        Statement(
            predicates.VULNERABILITIES,
            {"status": "complete", "fixable": fixable, "scanned": scanned},
        ),
        BOTH,
    )


@pytest.mark.parametrize("newest_first", [True, False])
def test_of_several_scans_the_newest_counts(newest_first: bool) -> None:
    others = evidence({predicates.VULNERABILITIES: None}).attested
    old, new = scan(0, "2027-01-12T08:00:00Z"), scan(2, "2027-01-14T08:00:00Z")
    order = (new, old) if newest_first else (old, new)
    assert rules(evidence(attested=(*others, *order))) == ["attestations.vulnerabilities"]


def test_of_several_results_without_a_time_all_must_pass() -> None:
    bad = Attested(Statement(predicates.TEST_RESULT, {"result": "FAILED"}), BOTH)
    assert rules(evidence(attested=(*evidence().attested, bad))) == ["attestations.tests"]
    assert rules(evidence(attested=(bad, *evidence().attested))) == ["attestations.tests"]


def test_an_attestation_that_no_allowed_signer_signed_does_not_count() -> None:
    bare = tuple(Attested(one.statement) for one in evidence().attested)
    found = evaluate(policy(), evidence(attested=bare))
    assert len(found) == len(FULL["attestations"])  # type: ignore[arg-type]  # a mapping
    assert all("no allowed signer signed it" in failure.sentence for failure in found)


def test_without_signers_bare_attestations_suffice() -> None:
    bare = tuple(Attested(one.statement) for one in evidence().attested)
    assert rules(evidence(attested=bare, signers=frozenset()), policy(signers=None)) == []


def test_as_many_signers_as_asked_for_must_have_signed() -> None:
    one = evidence(signers=frozenset({"alice"}))
    (failure,) = evaluate(policy(), one)
    assert str(failure) == (
        "signers: it needs 2 of the signatures of alice, bob; it is signed by alice."
    )
    assert rules(one, policy(signers={"keys": {"alice": ALICE, "bob": BOB}})) == []


def test_the_base_must_have_been_in_the_channel() -> None:
    other = Lineage("server 1.0.3", frozenset({"dev"}))
    (failure,) = evaluate(policy(), evidence(lineage=other))
    assert "server 1.0.3, which was never in the channel prod" in str(failure)
    (failure,) = evaluate(policy(), evidence(lineage=Lineage()))
    assert "no image of ours" in str(failure)


@given(st.floats(min_value=0, max_value=100))
def test_age_is_bounded(days: float) -> None:
    found = rules(evidence(created=NOW - days * DAY))
    assert found == ([] if days <= 30 else ["maximum_age"])


@given(st.frozensets(st.sampled_from(sorted(CLEAN))))
def test_taking_evidence_away_never_makes_a_rule_pass(gone: frozenset[str]) -> None:
    found = rules(evidence(dict.fromkeys(gone)))
    assert len(found) == len(gone)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"signer": {}}, "signer is unknown"),
        ({"signers": {"keys": {}}}, "signers must have keys"),
        ({"signers": {"keys": {"a": "x"}}}, r"signers\.keys\.a is no public key"),
        ({"signers": {"keys": {"a": ALICE, "b": ALICE}}}, "one key under two names"),
        ({"signers": {"keys": {"a": ALICE}, "threshold": 2}}, "threshold is 2, and there are 1"),
        ({"signers": {"keys": {"a": ALICE}, "threshold": 0}}, "threshold is 0"),
        ({"signers": {"keys": {"a": ALICE}, "threshold": "x"}}, "threshold must be a number"),
        ({"attestations": {"test": True}}, "attestations.test is none of provenance, sbom, tests"),
        ({"attestations": {"tests": {"minimum": 1}}}, "tests.minimum is unknown"),
        ({"attestations": {"hardening": {"minimum_score": "x"}}}, "must be a number"),
        ({"attestations": {"hardening": {"profile": 3}}}, "hardening.profile must be text"),
        ({"attestations": {"secrets": 1}}, "attestations.secrets must be true or a mapping"),
        (
            {"attestations": {"r": {"type": "a:b", "where": {"x": {"above": 1}}}}},
            "has minimum or maximum only",
        ),
        ({"attestations": {"r": {"type": "a:b", "maximum_age_days": 3}}}, "needs time"),
        ({"maximum_age_days": -1}, "maximum_age_days must be a number above 0"),
        ({"base_channel": 3}, "base_channel must be text"),
    ],
)
def test_a_policy_that_is_wrong_is_refused_with_its_place(
    document: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DriverError, match=sentence) as raised:
        Policy.from_document(document, "channels.yml: prod")
    assert str(raised.value).startswith("channels.yml: prod: ")


def test_all_that_is_wrong_with_a_policy_is_told_at_once() -> None:
    with pytest.raises(DriverError) as raised:
        Policy.from_document({"x": 1, "base_channel": 3, "maximum_age_days": "a"}, "f")
    assert raised.value.message.count(";") == 2 + 1
