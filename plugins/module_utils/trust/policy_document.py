# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy as people write it, in the catalog. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.errors import DriverError
from ..oci import predicates
from .evidence import TrustedKey
from .keys import PublicKey
from .policy import Condition, Policy, Requirement

_KEYS = ("signers", "attestations", "maximum_age_days", "base_channel")
_EXAMPLE = (
    "See docs/trust.md; such as {signers: {keys: {release: PEM}, threshold: 1}, attestations:"
    " {secrets: true}, maximum_age_days: 30}."
)
_COMPLETE = Condition("status", "equals", "complete")

# Of each short name: the types that fulfil it, the conditions that always hold, what options
# there are and which member each bounds, and where it says when it was found out.
_KNOWN: dict[
    str, tuple[tuple[str, ...], tuple[Condition, ...], dict[str, tuple[str, str, Any]], str]
] = {
    "provenance": ((predicates.PROVENANCE,), (), {}, ""),
    "sbom": ((predicates.CYCLONEDX, predicates.SPDX), (), {}, ""),
    "tests": (
        (predicates.TEST_RESULT,),
        (Condition("result", "equals", "PASSED"),),
        {},
        "",
    ),
    "hardening": (
        (predicates.HARDENING,),
        (),
        {
            "profile": ("profile", "equals", None),
            "minimum_score": ("score", "minimum", 0),
            # What fails and is waived does not count.
            "maximum_failed": ("counts.failed", "maximum", 0),
        },
        "",
    ),
    "lynis": (
        (predicates.LYNIS,),
        (),
        {"minimum_index": ("hardening_index", "minimum", 0)},
        "",
    ),
    "vulnerabilities": (
        (predicates.VULNERABILITIES,),
        (_COMPLETE,),
        {"maximum": ("fixable", "maximum", 0)},
        "scanned",
    ),
    "secrets": ((predicates.SECRETS,), (), {"maximum": ("found", "maximum", 0)}, ""),
    "exposure": (
        (predicates.EXPOSURE,),
        (),
        {
            "maximum_setuid": ("counts.setuid", "maximum", None),
            "maximum_world_writable": ("counts.world_writable", "maximum", 0),
            "maximum_unowned": ("counts.unowned", "maximum", 0),
            "maximum_unpackaged": ("counts.unpackaged", "maximum", None),
            "maximum_listening": ("counts.listening", "maximum", None),
        },
        "",
    ),
}


def read_policy(document: Mapping[str, Any], where: str) -> Policy:
    """Return the policy that *document* spells; DriverError lists all that is wrong with it."""
    wrong: list[str] = []
    unknown = sorted(set(map(str, document)) - set(_KEYS))
    wrong += [f"{name} is unknown; there are {', '.join(_KEYS)}" for name in unknown]
    signers, threshold = _signers(document.get("signers"), wrong)
    policy = Policy(
        signers,
        threshold,
        _attestations(document.get("attestations"), wrong),
        _number(document, "maximum_age_days", wrong),
        _text(document.get("base_channel"), "base_channel", wrong),
    )
    if wrong:
        raise DriverError(f"{where}: {'; '.join(wrong)}.", hint=_EXAMPLE)
    return policy


def _signers(value: Any, wrong: list[str]) -> tuple[tuple[TrustedKey, ...], int]:
    if value is None:
        return (), 0
    keys = value.get("keys") if isinstance(value, Mapping) else None
    if not isinstance(keys, Mapping) or not keys or set(value) - {"keys", "threshold"}:
        wrong.append("signers must have keys (a mapping of names to public keys), and threshold")
        return (), 0
    found = []
    for name, text in keys.items():
        try:
            found.append(TrustedKey(str(name), PublicKey.read(str(text), f"signers.keys.{name}")))
        except DriverError as error:
            wrong.append(error.message.rstrip("."))
    if len({one.key.fingerprint for one in found}) != len(found):
        wrong.append("signers.keys has one key under two names, which would count twice")
    threshold = value.get("threshold", 1)
    if isinstance(threshold, bool) or not isinstance(threshold, int):
        wrong.append("signers.threshold must be a number")
        return tuple(found), 0
    if not 1 <= threshold <= len(keys):
        wrong.append(f"signers.threshold is {threshold}, and there are {len(keys)} keys")
    return tuple(found), threshold


def _attestations(value: Any, wrong: list[str]) -> tuple[Requirement, ...]:
    if value is None:
        return ()
    if isinstance(value, list):
        value = {str(name): True for name in value}
    if not isinstance(value, Mapping):
        wrong.append("attestations must be a mapping of names to what they must say")
        return ()
    found = []
    for name, options in value.items():
        if options is False or options is None:
            continue
        given = {} if options is True else options
        if not isinstance(given, Mapping):
            wrong.append(f"attestations.{name} must be true or a mapping")
            continue
        read = _known if str(name) in _KNOWN else _foreign
        found.append(read(str(name), given, wrong))
    return tuple(found)


def _known(name: str, given: Mapping[str, Any], wrong: list[str]) -> Requirement:
    types, always, options, time = _KNOWN[name]
    allowed = [*options, *(["maximum_age_days"] if time else [])]
    for key in sorted(set(map(str, given)) - set(allowed)):
        told = f"there are {', '.join(allowed)}" if allowed else "it has no options"
        wrong.append(f"attestations.{name}.{key} is unknown; {told}")
    conditions = list(always)
    for option, (path, test, default) in options.items():
        value = given.get(option, default)
        if value is None:
            continue
        if test != "equals" and (isinstance(value, bool) or not isinstance(value, int | float)):
            wrong.append(f"attestations.{name}.{option} must be a number")
            continue
        if test == "equals" and (not isinstance(value, str) or not value):
            wrong.append(f"attestations.{name}.{option} must be text")
            continue
        conditions.append(Condition(path, test, value))
    age = _number(given, "maximum_age_days", wrong)
    return Requirement(name, types, tuple(conditions), time, age)


def _foreign(name: str, given: Mapping[str, Any], wrong: list[str]) -> Requirement:
    """An attestation of another kind: a type, and what its members must be."""
    kind = given.get("type")
    where = given.get("where", {})
    if not isinstance(kind, str) or ":" not in kind:
        known = ", ".join(_KNOWN)
        wrong.append(f"attestations.{name} is none of {known}, so it must have type, a URI")
    if not isinstance(where, Mapping):
        wrong.append(f"attestations.{name}.where must be a mapping of members to values")
        where = {}
    unknown = set(map(str, given)) - {"type", "where", "time", "maximum_age_days"}
    wrong += [f"attestations.{name}.{key} is unknown" for key in sorted(unknown)]
    conditions = []
    for path, value in where.items():
        if isinstance(value, Mapping):
            for test, bound in value.items():
                if test not in ("minimum", "maximum") or not isinstance(bound, int | float):
                    wrong.append(f"attestations.{name}.where.{path} has minimum or maximum only")
                conditions.append(Condition(str(path), str(test), bound))
        else:
            conditions.append(Condition(str(path), "equals", value))
    time = _text(given.get("time"), f"attestations.{name}.time", wrong)
    age = _number(given, "maximum_age_days", wrong)
    if age is not None and not time:
        wrong.append(f"attestations.{name}.maximum_age_days needs time, the member that holds it")
    return Requirement(name, (str(kind),), tuple(conditions), time, age)


def _number(document: Mapping[str, Any], key: str, wrong: list[str]) -> float | None:
    value = document.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        wrong.append(f"{key} must be a number above 0")
        return None
    return float(value)


def _text(value: Any, name: str, wrong: list[str]) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not value:
        wrong.append(f"{name} must be text")
        return ""
    return value
