# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seal an image and record its version; see the module of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..module_utils.build.asked import asked_of
from ..module_utils.build.base import describe_epoch
from ..module_utils.build.cache_push import push_image
from ..module_utils.build.definition_model import Parent
from ..module_utils.build.lost_blob import mending
from ..module_utils.build.session import Session
from ..module_utils.build.workshop import Sealed, Workshop, publish_image, seal_image
from ..module_utils.catalog.repository import Catalog
from ..module_utils.catalog.revision import definition_revision
from ..module_utils.catalog.version import Version, VersionNumber
from ..module_utils.trust.notary import keep_statements, sign_version
from ..plugin_utils.attesting import BUILDER, Attester, findings_of
from ..plugin_utils.bake_action import BakeAction, display
from ..plugin_utils.manifests import keep_manifest
from ..plugin_utils.pool_room import shrink_pool
from ..plugin_utils.signing import signed_repository, signer_of, signing_note

if TYPE_CHECKING:
    from ..module_utils.build.disk.making import Disks
    from ..plugin_utils.examination import Finding


class ActionModule(BakeAction):
    """The action ``kiln.immutable.bake_seal``."""

    def step(self, task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
        """Seal the image of this host, give it a version and load it into the engine."""
        shop = self.shop(task_vars)
        session = self.session(shop, task_vars)
        image = str(task_vars["inventory_hostname"])
        # Before anything is recorded: a key that does not open is told of in time.
        signer = signer_of(self, task_vars)
        sealed = seal_image(shop, session, image)
        findings = self._examine(shop, session, sealed, task_vars)
        catalog = self.catalog(task_vars)
        sealed, disks = self._make_disks(shop, session, sealed, catalog, task_vars)
        state = session.read(image)
        lock = (state.get("lock") or {}).get("layers")
        parent = _parent_version(shop, session, catalog, sealed)

        def make(number: VersionNumber) -> Version:
            if disks is not None and disks.version not in ("", str(number)):
                from ..module_utils.build.disk.making import taken

                raise taken(image)
            signed_by = () if signer is None else (signer.public.fingerprint,)
            return _version(sealed, number, parent, lock, signed_by, disks)

        version, is_new = catalog.record(
            image, sealed.definition.series, sealed.image.index.digest, make
        )
        attester = Attester(
            shop,
            sealed,
            state["opened"],
            builder=str(self._option(task_vars, "kiln_builder") or BUILDER),
            lock=lock,
            parent=f"{version.parent} {parent}" if parent else "",
        )
        repository = signed_repository(self, task_vars, image)

        def beside() -> Mapping[str, Any]:
            statements = [*attester.statements(), *(one.statement for one in findings)]
            # After what reads the layers anyway: their listings are there by now.
            statements.append(keep_manifest(shop.layout, sealed.image, attester.root()))
            keep_statements(shop.layout, sealed.image, repository, statements)
            if signer is not None:
                sign_version(shop.layout, sealed.image, repository, signer)
            asked = asked_of(sealed.definition, signing_note(self, task_vars, image))
            shop.cache.keep_attested(sealed.image.index.digest, asked)
            by = signer.public.fingerprint if signer is not None else None
            return {"found": findings_of(statements), "signed_by": by}

        with mending(shop.cache):
            summary = publish_image(shop, session, sealed, version.number, beside)
        for one in summary["found"].get("secrets", ()):
            display.warning(f"{image}: {one['path']} holds a secret ({one['rule']}).")
        for warning in attester.warnings:
            display.warning(f"{image}: {warning}")
        if findings:
            summary["findings"] = {one.name: dict(one.predicate) for one in findings}
        if disks is not None:
            summary["disks"] = disks.as_json()
        from ..plugin_utils.version_report import report_version

        folder = Path(str(task_vars["playbook_dir"]))
        summary["report"] = str(report_version(shop, sealed, summary, folder, attester.root()))
        session.write(image, {"summary": summary})
        shrink_pool(shop, catalog, sealed.definition)
        pushed = push_image(shop, session, image, say=display.warning)
        return {"changed": is_new, **summary, "pushed": pushed}

    def _examine(
        self, shop: Workshop, session: Session, sealed: Sealed, task_vars: Mapping[str, Any]
    ) -> tuple[Finding, ...]:
        """What the definition asks to be found out of the image before it gets a version."""
        if not sealed.definition.seal.examines:
            return ()
        from ..plugin_utils.examination import examine, refuse

        mirror = self._option(task_vars, "kiln_toolbox_mirror")
        with mending(shop.cache):
            findings = examine(
                shop,
                sealed,
                session=session.id,
                playbook_folder=Path(str(task_vars["playbook_dir"])),
                containerd_store=bool(session.read(sealed.definition.name)["containerd_store"]),
                say=self.say,
                mirror=str(mirror) if mirror else None,
            )
        refuse(sealed.definition.name, findings)
        return findings

    def _make_disks(
        self,
        shop: Workshop,
        session: Session,
        sealed: Sealed,
        catalog: Catalog,
        task_vars: Mapping[str, Any],
    ) -> tuple[Sealed, Disks | None]:
        """The image with the disks that its definition asks for, which were booted."""
        spec = sealed.definition.disk
        if spec is None:
            return sealed, None
        from ..module_utils.build.disk.making import make_disks

        if spec.slots is not None:
            catalog.ensure()
            catalog.pull()
        mirror = self._option(task_vars, "kiln_toolbox_mirror")
        with mending(shop.cache):
            return make_disks(
                shop,
                sealed,
                spec,
                session=session.id,
                say=self.say,
                numbers=_Numbers(catalog, sealed),
                mirror=str(mirror) if mirror else None,
            )


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The numbers of an image's versions, as the catalog has them."""

    catalog: Catalog
    sealed: Sealed

    def given(self, bake_key: str) -> list[str]:
        """Return those that bakes with this key got."""
        return self.catalog.numbers_baked(self.sealed.definition.name, bake_key)

    def of(self, index: str) -> str:
        """Return the one that the index *index* has, or would get now."""
        definition = self.sealed.definition
        return self.catalog.number_of(definition.name, definition.series, index)


def _parent_version(
    shop: Workshop, session: Session, catalog: Catalog, sealed: Sealed
) -> str | None:
    """Return the number of the version that the image is built on, None for another base."""
    if not isinstance(sealed.definition.base, Parent):
        return None
    name = sealed.definition.base.name
    state = session.read(name)
    found = (state.get("summary") or {}).get("version") or state.get("version")
    if found is None:
        # Its version is in the catalog, but the engine has not its image.
        latest = shop.cache.latest(name)
        found = latest.version if latest is not None else None
    if found is None or catalog.version(name, str(found)) is None:
        return None
    return str(found)


def _version(
    sealed: Sealed,
    number: VersionNumber,
    parent_version: str | None,
    lock: str | None,
    signatures: tuple[str, ...],
    disks: Disks | None,
) -> Version:
    definition = sealed.definition
    blobs = [sealed.image.index, sealed.image.manifest, sealed.image.config]
    blobs += [layer.descriptor for layer in sealed.image.layers]
    for disk in disks.artefacts if disks is not None else ():
        blobs += [disk.manifest, disk.blob]
    return Version(
        image=definition.name,
        number=str(number),
        index=sealed.image.index.digest,
        config=sealed.image.config.digest,
        bake_key=sealed.bake_key,
        definition_digest=definition.digest,
        definition_revision=definition_revision(definition.directory),
        created=describe_epoch(sealed.base.epoch),
        size=sum(blob.size for blob in blobs),
        base=definition.base.kind,
        parent=definition.base.name if isinstance(definition.base, Parent) else None,
        parent_version=parent_version,
        lock=lock,
        signatures=signatures,
    )
