# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bills of materials: CycloneDX and SPDX, with bytes that repeat.

They are written here and not by the formats' libraries, which take half a second to load: a tenth
of a bake of which one layer changed. The tests compare every byte with what those would write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from ..oci.predicates import CYCLONEDX, SPDX
from ..oci.statement import Statement
from .materials import Materials, package_url, spdx_licence
from .packages import Package

LAYER = "kiln.immutable:layer"
"""The property of a component that names the layer that brought it."""

_UNKNOWN = "NOASSERTION"


def cyclonedx(materials: Materials) -> Statement:
    """Return *materials* as a CycloneDX 1.6 document, which is the statement's predicate."""
    return Statement(CYCLONEDX, _cyclonedx(materials))


def spdx(materials: Materials) -> Statement:
    """Return *materials* as an SPDX 2.3 document, which is the statement's predicate."""
    return Statement(SPDX, _spdx(materials))


def _cyclonedx(materials: Materials) -> dict[str, Any]:
    image = {
        "type": "container",
        "bom-ref": "image",
        "name": materials.name,
        "version": materials.digest,
        "hashes": [{"alg": "SHA-256", "content": _hex(materials.digest)}],
        "properties": _properties(
            {
                f"kiln.immutable:layers:{index:03}": f"{one.name} {one.diff_id}"
                for index, one in enumerate(materials.layers)
            }
        ),
    }
    system = {
        "type": "operating-system",
        "bom-ref": "system",
        "name": materials.system.get("ID", "debian"),
        "version": materials.system.get("VERSION_ID"),
        "description": materials.system.get("PRETTY_NAME"),
    }
    components = [_component(package, materials) for package in materials.packages]
    components = [_told(one) for one in (system, *components)]
    components.sort(key=lambda one: (one["type"], one["name"], one.get("version", "")))
    references = sorted(one["bom-ref"] for one in components)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{_number(materials)}",
        "version": 1,
        "metadata": {"timestamp": _time(materials.epoch).isoformat(), "component": _told(image)},
        "components": components,
        "dependencies": [
            {"ref": "image", "dependsOn": references},
            *({"ref": reference} for reference in references),
        ],
    }


def _component(package: Package, materials: Materials) -> dict[str, Any]:
    url = package_url(package, materials.system)
    layer = materials.layers[package.layer]
    licences = {spdx_licence(name) or name: spdx_licence(name) for name in package.licences}
    # Those of SPDX's list first, as its library sorts them.
    ordered = sorted(licences, key=lambda name: (licences[name] is None, name))
    return {
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "purl": url,
        "description": package.summary,
        "supplier": {"name": package.maintainer} if package.maintainer else None,
        "licenses": [
            {"license": {"acknowledgement": "declared", "id" if licences[name] else "name": name}}
            for name in ordered
        ],
        "properties": _properties(
            {
                LAYER: layer.name,
                f"{LAYER}:diff-id": layer.diff_id,
                "kiln.immutable:source": package.source,
                "kiln.immutable:source:version": package.source_version,
            }
        ),
    }


def _properties(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _spdx(materials: Materials) -> dict[str, Any]:
    image = "SPDXRef-image"
    packages = [_plain_package(image, materials.name, materials.digest, "CONTAINER")]
    relations = [_relation("SPDXRef-DOCUMENT", "DESCRIBES", image)]
    layers = [f"SPDXRef-layer-{index:03}" for index in range(len(materials.layers))]
    for own, layer in zip(layers, materials.layers, strict=True):
        packages.append(_plain_package(own, f"layer {layer.name}", layer.diff_id, "ARCHIVE"))
        relations.append(_relation(image, "CONTAINS", own))
    for number, package in enumerate(materials.packages):
        name = re.sub(r"[^A-Za-z0-9.-]", "-", package.name)
        own = f"SPDXRef-package-{number:05}-{name}"
        packages.append({"SPDXID": own, **_package(package, materials)})
        relations.append(_relation(layers[package.layer], "CONTAINS", own))
    return {
        "SPDXID": "SPDXRef-DOCUMENT",
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "name": materials.name,
        "documentNamespace": (f"https://spdx.org/spdxdocs/{materials.name}-{_number(materials)}"),
        "creationInfo": {
            "created": _time(materials.epoch).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": ["Tool: kiln.immutable"],
        },
        "packages": packages,
        "relationships": relations,
    }


def _plain_package(own: str, name: str, digest: str, purpose: str) -> dict[str, Any]:
    return {
        "SPDXID": own,
        "name": name,
        "versionInfo": digest,
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "checksums": [{"algorithm": "SHA256", "checksumValue": _hex(digest)}],
        "primaryPackagePurpose": purpose,
    }


def _package(package: Package, materials: Materials) -> dict[str, Any]:
    said = ", ".join(package.licences)
    return _told(
        {
            "name": package.name,
            "versionInfo": package.version,
            "supplier": _supplier(package.maintainer),
            "downloadLocation": _UNKNOWN,
            "filesAnalyzed": False,
            "licenseConcluded": _UNKNOWN,
            "licenseDeclared": _UNKNOWN,
            "licenseComments": f"Debian's copyright file names: {said}" if said else None,
            "copyrightText": _UNKNOWN,
            "summary": package.summary,
            "homepage": package.homepage if package.homepage.startswith("http") else None,
            "sourceInfo": f"built from {package.source} {package.source_version}",
            "comment": f"in layer {materials.layers[package.layer].name}",
            "externalRefs": [
                {
                    "referenceCategory": "PACKAGE_MANAGER",
                    "referenceType": "purl",
                    "referenceLocator": package_url(package, materials.system),
                }
            ],
        }
    )


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def _supplier(maintainer: str) -> str:
    name, _less, address = maintainer.partition("<")
    address = address.rstrip("> ")
    if not name.strip():
        return _UNKNOWN
    return f"Organization: {name.strip()}" + (f" ({address})" if address else "")


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is not known."""
    return {key: value for key, value in values.items() if value not in (None, "", [])}


def _hex(digest: str) -> str:
    return digest.partition(":")[2]


def _number(materials: Materials) -> UUID:
    return uuid5(NAMESPACE_URL, f"kiln.immutable/{materials.name}@{materials.digest}")


def _time(epoch: int) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)
