# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a version was made, as SLSA provenance (SLSA v1.0, provenance.md). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..oci.digest import parse
from ..oci.predicates import PROVENANCE
from ..oci.statement import Statement

BUILD_TYPE = "urn:kiln-immutable:bake:v1"


@dataclass(frozen=True, slots=True)
class Material:
    """Something that the version was made from.

    :param digest: ``sha256:HEX`` or ``gitCommit:HEX``; empty when it has none.
    """

    name: str
    digest: str = ""
    uri: str = ""
    annotations: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def as_json(self) -> dict[str, Any]:
        """The resource descriptor of in-toto."""
        value: dict[str, Any] = {"name": self.name}
        if self.uri:
            value["uri"] = self.uri
        if self.digest.startswith("gitCommit:"):
            value["digest"] = {"gitCommit": self.digest.partition(":")[2]}
        elif self.digest:
            algorithm, hexed = parse(self.digest)
            value["digest"] = {algorithm: hexed}
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value


@dataclass(frozen=True, slots=True)
class Build:
    """A bake, as its provenance tells it.

    :param parameters: what the user decides: name, series, kind, base.
    :param materials: definition, lock, base, roles, collections.
    :param builder: a URI that names who is answerable for the machine that baked.
    :param versions: of the programs that had a part in it.
    :param bake_key: digest of everything that the bake depends on.
    :param started: and *finished*: RFC 3339, UTC.
    """

    parameters: Mapping[str, Any]
    materials: Sequence[Material]
    builder: str
    versions: Mapping[str, str]
    bake_key: str
    started: str
    finished: str


def provenance(build: Build) -> Statement:
    """Return the provenance of a version."""
    return Statement(
        PROVENANCE,
        {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": dict(build.parameters),
                "internalParameters": {},
                "resolvedDependencies": [one.as_json() for one in build.materials],
            },
            "runDetails": {
                "builder": {"id": build.builder, "version": dict(build.versions)},
                "metadata": {
                    "invocationId": build.bake_key,
                    "startedOn": build.started,
                    "finishedOn": build.finished,
                },
            },
        },
    )
