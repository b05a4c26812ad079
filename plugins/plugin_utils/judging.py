# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging versions: what the catalog and the store know of one, put before a channel's policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..module_utils.build.workshop import Workshop
from ..module_utils.catalog.changes import Judge
from ..module_utils.catalog.documents import read_time
from ..module_utils.catalog.repository import Catalog
from ..module_utils.catalog.version import Version
from ..module_utils.trust.evidence import Evidence, Lineage, gather
from ..module_utils.trust.policy import Failure, Policy, evaluate


def channel_judge(shop: Workshop, catalog: Catalog) -> Judge:
    """Return what judges a version by a channel's policy, for promotion, rotation and status.

    Revocations are the catalog's own business, which it sees to with or without a policy.
    """

    def judge(version: Version, channel: str, policy: Mapping[str, Any]) -> Sequence[str]:
        if not policy:
            return ()
        where = f"{catalog.root / catalog.SETTINGS}: the policy of {channel}"
        return [
            f"{failure}"
            for failure in judged(shop, catalog, version, Policy.from_document(policy, where))
            if failure.rule != "revoked"
        ]

    return judge


def judged(
    shop: Workshop, catalog: Catalog, version: Version, policy: Policy
) -> tuple[Failure, ...]:
    """Return every rule of *policy* that *version* fails, a revocation too."""
    found = evaluate(policy, evidence_of(shop, catalog, version, policy))
    if policy.threshold or policy.attestations:
        there = (shop.layout.root / "index.json").exists() and shop.layout.has(version.index)
        if not there:
            missing = Failure("store", "it is not in this home's store: pull it first.")
            return (missing, *found)
    return found


def evidence_of(shop: Workshop, catalog: Catalog, version: Version, policy: Policy) -> Evidence:
    """Verify what the store has of *version*, and add where it comes from."""
    now = catalog.now()
    created = read_time(version.created, f"{version.image} {version.number}").timestamp()
    lineage = _lineage(catalog, version)
    if not (shop.layout.root / "index.json").exists():
        return Evidence(created, now.timestamp(), lineage=lineage)
    return gather(
        shop.layout,
        version.index,
        policy.signers,
        created=created,
        now=now.timestamp(),
        lineage=lineage,
    )


def _lineage(catalog: Catalog, version: Version) -> Lineage:
    struck = catalog.revocation_of(version, catalog.now())
    revoked: tuple[str, ...] = ()
    if struck is not None:
        one, entry = struck
        itself = (one.image, one.number) == (version.image, version.number)
        which = "it" if itself else f"{one.image} {one.number}, which it is built on,"
        revoked = (f"{which} is revoked ({entry.reason}).",)
    if version.parent is None or version.parent_version is None:
        return Lineage(revoked=revoked)
    channels = frozenset(
        name
        for name, channel in catalog.channels(version.parent).items()
        if version.parent_version in channel.history
    )
    return Lineage(f"{version.parent} {version.parent_version}", channels, revoked)
