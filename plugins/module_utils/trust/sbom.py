# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bills of materials: CycloneDX and SPDX, each by its own library, with bytes that repeat."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from ..core.errors import DriverError
from ..oci.predicates import CYCLONEDX, SPDX
from ..oci.statement import Statement
from .materials import Materials, package_url, spdx_licence
from .packages import Package

T = TypeVar("T")

LAYER = "kiln.immutable:layer"
"""The property of a component that names the layer that brought it."""

_LAYER_DIGEST = "kiln.immutable:layer:diff-id"


def cyclonedx(materials: Materials) -> Statement:
    """Return *materials* as a CycloneDX 1.6 document, which is the statement's predicate."""
    return Statement(
        CYCLONEDX, _with_library("cyclonedx-python-lib", lambda: _cyclonedx(materials))
    )


def spdx(materials: Materials) -> Statement:
    """Return *materials* as an SPDX 2.3 document, which is the statement's predicate."""
    return Statement(SPDX, _with_library("spdx-tools", lambda: _spdx(materials)))


def _with_library(name: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except ImportError as error:
        raise missing(name) from error


def missing(name: str) -> DriverError:
    """Return the error that says that the library *name* is not there."""
    return DriverError(
        f"A bill of materials needs the Python library {name}.",
        hint=f"Install it where Ansible runs (pip install {name}), or set seal.sbom to false.",
    )


def serial(materials: Materials) -> UUID:
    """Return the number that is the image's own: the same each time for the same digest."""
    return uuid5(NAMESPACE_URL, f"kiln.immutable/{materials.name}@{materials.digest}")


def _cyclonedx(materials: Materials) -> dict[str, Any]:
    # Imported here: they take as long as all else of a bake that has nothing to do.
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.contact import OrganizationalEntity
    from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    def licence(name: str) -> DisjunctiveLicense:
        declared = LicenseAcknowledgement.DECLARED
        known = spdx_licence(name)
        if known is not None:
            return DisjunctiveLicense(id=known, acknowledgement=declared)
        return DisjunctiveLicense(name=name, acknowledgement=declared)

    def component(package: Package) -> Component:
        url = package_url(package, materials.system)
        layer = materials.layers[package.layer]
        return Component(
            type=ComponentType.LIBRARY,
            bom_ref=url,
            name=package.name,
            version=package.version,
            purl=PackageURL.from_string(url),
            description=package.summary or None,
            supplier=OrganizationalEntity(name=package.maintainer) if package.maintainer else None,
            licenses=[licence(name) for name in _unique(package.licences)],
            properties=[
                Property(name=LAYER, value=layer.name),
                Property(name=_LAYER_DIGEST, value=layer.diff_id),
                Property(name="kiln.immutable:source", value=package.source),
                Property(name="kiln.immutable:source:version", value=package.source_version),
            ],
        )

    image = Component(
        type=ComponentType.CONTAINER,
        bom_ref="image",
        name=materials.name,
        version=materials.digest,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=materials.digest[7:])],
        properties=[
            Property(name=f"kiln.immutable:layers:{index:03}", value=f"{one.name} {one.diff_id}")
            for index, one in enumerate(materials.layers)
        ],
    )
    system = Component(
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref="system",
        name=materials.system.get("ID", "debian"),
        version=materials.system.get("VERSION_ID") or None,
        description=materials.system.get("PRETTY_NAME") or None,
    )
    packages = [component(package) for package in materials.packages]
    bom = Bom(
        serial_number=serial(materials),
        metadata=BomMetaData(timestamp=_time(materials.epoch), component=image),
        components=[system, *packages],
    )
    bom.register_dependency(image, [system, *packages])
    found: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    # The library's own version would make bytes depend on it; a licence's home is in SPDX's list.
    found["metadata"].pop("tools", None)
    return found


def _spdx(materials: Materials) -> dict[str, Any]:
    from spdx_tools.spdx.jsonschema.document_converter import DocumentConverter

    converter: Any = DocumentConverter
    found: dict[str, Any] = converter().convert(spdx_document(materials))
    return found


def spdx_document(materials: Materials) -> Any:
    """Return *materials* as the SPDX library's own model, which its validator takes too."""
    from spdx_tools.spdx import model as library

    model: Any = library  # its package does not declare what it exports
    nothing = model.SpdxNoAssertion()
    created = model.CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id="SPDXRef-DOCUMENT",
        name=materials.name,
        document_namespace=f"https://spdx.org/spdxdocs/{materials.name}-{serial(materials)}",
        creators=[model.Actor(model.ActorType.TOOL, "kiln.immutable")],
        created=_time(materials.epoch).replace(tzinfo=None),
    )

    def checksum(digest: str) -> list[Any]:
        return [model.Checksum(model.ChecksumAlgorithm.SHA256, digest.partition(":")[2])]

    image = model.Package(
        spdx_id="SPDXRef-image",
        name=materials.name,
        download_location=nothing,
        version=materials.digest,
        files_analyzed=False,
        checksums=checksum(materials.digest),
        primary_package_purpose=model.PackagePurpose.CONTAINER,
    )
    packages = [image]
    relations = [
        model.Relationship("SPDXRef-DOCUMENT", model.RelationshipType.DESCRIBES, image.spdx_id),
    ]
    for index, layer in enumerate(materials.layers):
        packages.append(
            model.Package(
                spdx_id=f"SPDXRef-layer-{index:03}",
                name=f"layer {layer.name}",
                download_location=nothing,
                version=layer.diff_id,
                files_analyzed=False,
                checksums=checksum(layer.diff_id),
                primary_package_purpose=model.PackagePurpose.ARCHIVE,
            )
        )
        relations.append(
            model.Relationship(
                image.spdx_id, model.RelationshipType.CONTAINS, f"SPDXRef-layer-{index:03}"
            )
        )
    for number, package in enumerate(materials.packages):
        name = re.sub(r"[^A-Za-z0-9.-]", "-", package.name)
        own = f"SPDXRef-package-{number:05}-{name}"
        said = ", ".join(package.licences)
        packages.append(
            model.Package(
                spdx_id=own,
                name=package.name,
                download_location=nothing,
                version=package.version,
                supplier=_supplier(package.maintainer, model) or nothing,
                files_analyzed=False,
                license_concluded=nothing,
                license_declared=nothing,
                license_comment=f"Debian's copyright file names: {said}" if said else None,
                copyright_text=nothing,
                summary=package.summary or None,
                homepage=package.homepage if package.homepage.startswith("http") else None,
                source_info=f"built from {package.source} {package.source_version}",
                comment=f"in layer {materials.layers[package.layer].name}",
                external_references=[
                    model.ExternalPackageRef(
                        model.ExternalPackageRefCategory.PACKAGE_MANAGER,
                        "purl",
                        package_url(package, materials.system),
                    )
                ],
            )
        )
        layer_id = f"SPDXRef-layer-{package.layer:03}"
        relations.append(model.Relationship(layer_id, model.RelationshipType.CONTAINS, own))
    return model.Document(created, packages=packages, relationships=relations)


def _supplier(maintainer: str, model: Any) -> Any:
    name, less, address = maintainer.partition("<")
    if not name.strip():
        return None
    return model.Actor(
        model.ActorType.ORGANIZATION, name.strip(), address.rstrip("> ") if less else None
    )


def _unique(licences: tuple[str, ...]) -> list[str]:
    """Leave out a name that has the same identifier as one before it."""
    found = {spdx_licence(name) or name: name for name in reversed(licences)}
    return list(found.values())


def _time(epoch: int) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)
