# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A channel's policy: what a version must show before it may go there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .evidence import Attested, Evidence, TrustedKey

DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Condition:
    """What a member of a predicate must be.

    :param path: names of members, joined by dots.
    :param test: ``equals``, ``minimum`` or ``maximum``.
    """

    path: str
    test: str
    value: Any

    def failure(self, predicate: Mapping[str, Any]) -> str:
        """Return what is wrong, empty when it holds."""
        found: Any = predicate
        for part in self.path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        if found is None:
            return f"it does not say {self.path}"
        if self.test == "equals":
            wanted = self.value if isinstance(self.value, list) else [self.value]
            told = " or ".join(map(str, wanted))
            return "" if found in wanted else f"{self.path} is {found}, not {told}"
        if isinstance(found, bool) or not isinstance(found, int | float):
            return f"{self.path} is {found!r}, which is no number"
        if self.test == "minimum":
            return "" if found >= self.value else f"{self.path} is {found}, below {self.value}"
        return "" if found <= self.value else f"{self.path} is {found}, above {self.value}"


@dataclass(frozen=True, slots=True)
class Requirement:
    """An attestation that a version must have.

    :param name: as the policy calls it.
    :param types: predicate types, of which one suffices.
    :param time: path of the member that holds when it was found out; of several statements the
        newest counts then. Without it all must hold.
    :param maximum_age: days since that time.
    """

    name: str
    types: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    time: str = ""
    maximum_age: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What a channel asks for.

    :param signers: whose signatures count.
    :param threshold: how many of them must have signed.
    :param maximum_age: days since what the version is made from was released.
    :param base_channel: the version that it is built on must be, or have been, in this channel.
    """

    signers: tuple[TrustedKey, ...] = ()
    threshold: int = 0
    attestations: tuple[Requirement, ...] = ()
    maximum_age: float | None = None
    base_channel: str = ""

    @classmethod
    def from_document(cls, document: Mapping[str, Any], where: str) -> Policy:
        """Read the mapping of a channel's policy; DriverError lists all that is wrong with it."""
        from .policy_document import read_policy

        return read_policy(document, where)


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule that a version does not fulfil.

    :param rule: signers, maximum_age, base_channel, revoked, or ``attestations.NAME``.
    """

    rule: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.sentence}"


def evaluate(policy: Policy, evidence: Evidence) -> tuple[Failure, ...]:
    """Return every rule of *policy* that fails, in the order in which the policy has them."""
    found: list[Failure] = []
    if len(evidence.signers) < policy.threshold:
        allowed = ", ".join(one.name for one in policy.signers)
        by = ", ".join(sorted(evidence.signers)) or "nobody"
        others = evidence.unknown_signatures
        also = f", and {others} by keys that do not count or of other images" if others else ""
        found.append(
            Failure(
                "signers",
                f"it needs {policy.threshold} of the signatures of {allowed}; it is signed by"
                f" {by}{also}.",
            )
        )
    for wanted in policy.attestations:
        found += _attestation(wanted, policy, evidence)
    age = (evidence.now - evidence.created) / DAY
    if policy.maximum_age is not None and age > policy.maximum_age:
        found.append(
            Failure(
                "maximum_age",
                f"what it is made from is {age:.0f} days old, and at most"
                f" {policy.maximum_age:g} are allowed.",
            )
        )
    lineage = evidence.lineage
    if policy.base_channel and policy.base_channel not in lineage.parent_channels:
        told = (
            f"{lineage.parent}, which was never in the channel {policy.base_channel}."
            if lineage.parent
            else f"no image of ours, so on none of the channel {policy.base_channel}."
        )
        found.append(Failure("base_channel", f"it is built on {told}"))
    found += [Failure("revoked", sentence) for sentence in lineage.revoked]
    return tuple(found)


def _attestation(wanted: Requirement, policy: Policy, evidence: Evidence) -> Iterable[Failure]:
    rule = f"attestations.{wanted.name}"
    of_type = [one for one in evidence.attested if one.statement.predicate_type in wanted.types]
    counted = [one for one in of_type if one.signers or not policy.signers]
    if not counted:
        told = (
            "nobody attests it" if not of_type else "it is there, but no allowed signer signed it"
        )
        return [Failure(rule, f"{told} ({' or '.join(wanted.types)}).")]
    if wanted.time:
        counted = [max(counted, key=lambda one: _time(one, wanted.time) or 0.0)]
    failures = []
    for one in counted:
        failures += [
            Failure(rule, f"{sentence}.")
            for condition in wanted.conditions
            if (sentence := condition.failure(one.statement.predicate))
        ]
        when = _time(one, wanted.time) if wanted.time else None
        if wanted.maximum_age is not None:
            if when is None:
                failures.append(Failure(rule, "it does not say when that was found out."))
            elif (evidence.now - when) / DAY > wanted.maximum_age:
                days = (evidence.now - when) / DAY
                failures.append(
                    Failure(
                        rule,
                        f"it is {days:.0f} days old, and at most {wanted.maximum_age:g} are"
                        " allowed.",
                    )
                )
    return dict.fromkeys(failures)


def _time(one: Attested, path: str) -> float | None:
    found: Any = one.statement.predicate
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    try:
        return datetime.strptime(str(found), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
