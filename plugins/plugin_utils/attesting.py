# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a finished image: bills of materials, provenance, and what was found in it.

It runs beside the engine's loading of the image, and reads each layer once however many images
are made of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ansible.release import __version__ as ansible_version

from ..module_utils.build.definition_model import Archive, Debootstrap, Parent, Registry, Scan
from ..module_utils.build.workshop import Sealed, Workshop
from ..module_utils.catalog.revision import definition_revision
from ..module_utils.oci.predicates import CYCLONEDX, SECRETS, VULNERABILITIES
from ..module_utils.oci.statement import Statement
from .pending_updates import PendingUpdates

if TYPE_CHECKING:
    from ..module_utils.trust.examination import Root

BUILDER = "urn:kiln-immutable:builder:unnamed"


@dataclass(frozen=True, slots=True)
class Attester:
    """Makes the statements about one sealed image.

    :param builder: a URI that names who answers for this machine.
    :param opened: when the bake began, seconds since the epoch.
    :param lock: digest of the locked packages of its layers, None without a lock.
    :param parent: ``NAME NUMBER`` of the version that it is built on; empty for another base.
    """

    shop: Workshop
    sealed: Sealed
    opened: float
    builder: str = BUILDER
    lock: str | None = None
    parent: str = ""
    clock: Callable[[], float] = time.time
    warnings: list[str] = field(default_factory=list)
    _roots: list[Root] = field(default_factory=list)

    def root(self) -> Root:
        """Return what the image's files tell, which is found out once."""
        if not self._roots:
            from ..module_utils.trust.examination import examine

            self._roots.append(examine(self.shop.layout, self.sealed.image.layers))
        return self._roots[0]

    def statements(self) -> list[Statement]:
        """Return all that the definition asks for; what cannot be found out becomes a warning."""
        from ..module_utils.trust.provenance import provenance

        seal = self.sealed.definition.seal
        found: list[Statement] = []
        if seal.sbom or seal.scan is not None:
            found += self._examined(seal.scan, bills=seal.sbom)
        return [*found, provenance(self._build())]

    def _examined(self, scan: Scan | None, *, bills: bool) -> list[Statement]:
        from ..module_utils.trust import sbom
        from ..module_utils.trust.bills import Bills

        root = self.root()
        materials = self._materials(root)
        found = Bills(self.shop.home.cache / "bills").of(materials) if bills else []
        if scan is not None:
            found += self._scanned(root, scan)
            if scan.scanners:
                bill = found[0] if bills else None
                found += self._asked_scanners(bill or sbom.cyclonedx(materials))
        return found

    def _scanned(self, root: Any, scan: Scan) -> list[Statement]:
        from ..module_utils.trust import exposure
        from ..module_utils.trust.secrets import AllowedSecret
        from ..module_utils.trust.security_index import security_archives
        from ..module_utils.trust.vulnerabilities import (
            vulnerabilities_statement,
        )

        definition = self.sealed.definition
        allowed = [AllowedSecret(one.path, one.reason, one.rule) for one in scan.allowed]
        self.warnings.extend(
            f"seal.scan.allow_secrets: nothing is found at {one.path}; take it out."
            for one in exposure.unused_allowances(root, allowed)
        )
        ports = [str(port) for port in definition.config.ports]
        found = [
            exposure.secrets_statement(root, allowed),
            exposure.exposure_statement(root, ports),
        ]
        if scan.vulnerabilities:
            now = self.clock()
            base = definition.base
            keyring = base.keyring if isinstance(base, Debootstrap) else None
            asked = PendingUpdates(self.shop, datetime.fromtimestamp(now, UTC), keyring=keyring)
            texts = root.texts(r"etc/apt/sources\.list(\.d/[^/]+\.(list|sources))?")
            made = vulnerabilities_statement(
                root.packages,
                security_archives(texts[path] for path in sorted(texts)),
                lambda archive: asked.index(archive, self.sealed.base.architecture),
                now=now,
            )
            found.append(made)
        return found

    def _asked_scanners(self, bill: Statement) -> Sequence[Statement]:
        from ..module_utils.trust.vulnerabilities import scanner_statements

        found, problems = scanner_statements(bill.predicate, clock=self.clock)
        self.warnings.extend(problems)
        return found

    def _layers(self) -> list[tuple[str, Any]]:
        """The layers with their names, the base's first."""
        sealed = self.sealed
        base = sealed.definition.base
        name = base.name if isinstance(base, Parent) else sealed.base.suite
        own = [(one.name, one.layer) for one in sealed.layers if one.layer is not None]
        return [*((f"base {name}", layer) for layer in sealed.base.layers), *own]

    def _materials(self, root: Any) -> Any:
        from ..module_utils.trust.materials import (
            ImageLayer,
            Materials,
            os_release,
        )

        return Materials(
            name=self.sealed.definition.name,
            digest=self.sealed.image.index.digest,
            epoch=self.sealed.base.epoch,
            layers=[ImageLayer(name, layer.diff_id) for name, layer in self._layers()],
            packages=root.packages,
            system=os_release(root.text("etc/os-release")),
        )

    def _build(self) -> Any:
        from ..module_utils.trust.provenance import Build, Material

        sealed = self.sealed
        definition = sealed.definition
        revision = definition_revision(definition.directory)
        about = {"revision": revision} if revision else {}
        materials = [
            Material("definition", definition.digest, annotations=about),
            Material("base", sealed.base.key, annotations=_base(definition.base, self.parent)),
            *(Material("base layer", layer.diff_id) for layer in sealed.base.layers),
        ]
        if self.lock is not None:
            materials.append(Material("lock", self.lock))
        for record in sealed.layers:
            told = {
                "role": record.manifest.get("role", ""),
                "roles": sorted(record.manifest.get("roles") or {}),
                "ansible-core": record.manifest.get("ansible", ""),
            }
            diff = {} if record.layer is None else {"diff-id": record.layer.diff_id}
            name = f"layer {record.name}"
            materials.append(Material(name, record.key, annotations={**told, **diff}))
        materials += [Material(f"collection {name}") for name in _collections(sealed.layers)]
        return Build(
            parameters={
                "name": definition.name,
                "series": definition.series,
                "kind": definition.kind,
                "base": definition.base.kind,
                "suite": sealed.base.suite,
                "architecture": sealed.base.architecture,
            },
            materials=materials,
            builder=self.builder,
            versions={"ansible-core": str(ansible_version)},
            bake_key=sealed.bake_key,
            started=_utc(self.opened),
            finished=_utc(self.clock()),
        )


def findings_of(statements: Sequence[Statement]) -> dict[str, Any]:
    """Return what of *statements* a person is told at the end of a bake."""
    told: dict[str, Any] = {}
    for one in statements:
        if one.predicate_type == SECRETS:
            told["secrets"] = one.predicate["findings"]
        elif one.predicate_type == VULNERABILITIES:
            told["fixable"] = one.predicate["packages"]
        elif one.predicate_type == CYCLONEDX:
            components = one.predicate.get("components") or ()
            # Debian itself is a component too.
            told["packages"] = sum(part["type"] == "library" for part in components)
    return told


def _base(base: Any, parent: str) -> Mapping[str, Any]:
    if isinstance(base, Debootstrap):
        return {"suite": base.suite, "mirror": base.mirror or "", "variant": base.variant}
    if isinstance(base, Registry):
        return {"image": base.image}
    if isinstance(base, Archive):
        return {"archive": base.digest}
    return {"version": parent}


def _collections(layers: Sequence[Any]) -> list[str]:
    """The collections whose roles the layers are."""
    roles = {
        str(role)
        for record in layers
        for role in (record.manifest.get("role", ""), *(record.manifest.get("roles") or {}))
    }
    return sorted({".".join(role.split(".")[:2]) for role in roles if role.count(".") == 2})


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
