# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a sealed image: what its definition asks for, and where it came from."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    AllowedSecret,
    Debootstrap,
    Definition,
    ImageConfig,
    Parent,
    Port,
    Scan,
    Seal,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import (
    BaseRecord,
    LayerRecord,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.sealing import seal
from ansible_collections.kiln.immutable.plugins.module_utils.build.workshop import Sealed, Workshop
from ansible_collections.kiln.immutable.plugins.module_utils.oci import predicates
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer, store_layer
from ansible_collections.kiln.immutable.plugins.plugin_utils.attesting import Attester, findings_of

STATUS = "Package: {}\nStatus: install ok installed\nArchitecture: all\nVersion: 1.0\n"
ROOT = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "var/lib/dpkg/status": STATUS.format("login"),
    "var/lib/dpkg/info/login.list": "/.\n/usr/bin/su\n",
    "usr/bin/su": "program",
}
APP = {
    "srv/.env": "DB_PASSWORD=correct-horse-battery\n",
    "srv/open": "to all",
    "srv/lost": "of nobody",
    "usr/bin/app": "of no package",
    "etc/apt/sources.list": "deb file:/nowhere trixie-security main\n",
}
OPENED, NOW = 1_700_000_000.0, 1_700_000_060.0


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    """A workshop of an empty home, whose engine nobody asks."""
    made = Workshop.at(Home.at(str(tmp_path)), Engine())
    made.layout.ensure()
    return made


def layer(shop: Workshop, files: dict[str, str]) -> Layer:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode = {"usr/bin/su": 0o4755, "srv/open": 0o666}.get(name, 0o644)
            member.uid = 4711 if name == "srv/lost" else 0
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    stored = store_layer(shop.layout, [packed.getvalue()])
    assert stored is not None
    return stored


def attester(shop: Workshop, asked: Seal | None = None, **more: Any) -> Attester:
    """Return what attests an image of a base and the layer of one role."""
    definition = Definition(
        *("web", shop.home.root / "web.yml", "web.yml", "sha256:" + "d" * 64),
        Debootstrap("trixie", mirror="http://deb.example.org/debian"),
        seal=asked or Seal(scan=Scan(scanners=False)),
        config=ImageConfig(ports=(Port(8080),)),
    )
    base = BaseRecord("sha256:" + "b" * 64, (layer(shop, ROOT),), 7, "trixie", "amd64", 1.0)
    manifest = {"role": "acme.web.app", "roles": {"kiln.immutable.base": {}}, "ansible": "2.19"}
    own = LayerRecord("sha256:" + "e" * 64, "app", layer(shop, APP), 1.0, manifest)
    image = seal(shop.layout, definition, base, [own])
    sealed = Sealed(definition, image, base, (own,), "sha256:" + "f" * 64, ())
    return Attester(shop, sealed, OPENED, clock=lambda: NOW, **more)


def said(made: Attester) -> dict[str, Any]:
    """Return the predicates by their types, each there once."""
    statements = made.statements()
    found = {one.predicate_type: one.predicate for one in statements}
    assert len(found) == len(statements)
    return found


def test_all_that_is_looked_for_is_found_and_said(shop: Workshop) -> None:
    found = said(attester(shop))
    assert found.keys() == {
        predicates.CYCLONEDX,
        predicates.SPDX,
        predicates.SECRETS,
        predicates.EXPOSURE,
        predicates.VULNERABILITIES,
        predicates.PROVENANCE,
    }
    assert [one["path"] for one in found[predicates.SECRETS]["findings"]] == ["/srv/.env"]
    exposure = found[predicates.EXPOSURE]
    assert exposure["counts"] == {
        "setuid": 1,
        "world_writable": 1,
        "unowned": 1,
        "unpackaged": 1,
        "listening": 1,
    }
    assert exposure["listening"] == [{"kind": "exposed", "port": "8080/tcp"}]
    components = found[predicates.CYCLONEDX]["components"]
    assert [one["name"] for one in components] == ["login", "debian"]


def test_an_archive_that_does_not_answer_fails_nothing_and_proves_nothing(shop: Workshop) -> None:
    found = said(attester(shop))[predicates.VULNERABILITIES]
    assert (found["status"], found["fixable"]) == ("unknown", 0)
    assert "file:/nowhere" in " ".join(found["problems"])


def test_what_is_not_asked_for_is_not_said(shop: Workshop) -> None:
    assert said(attester(shop, Seal(sbom=False, scan=None))).keys() == {predicates.PROVENANCE}
    no_archive = Seal(sbom=False, scan=Scan(vulnerabilities=False, scanners=False))
    assert said(attester(shop, no_archive)).keys() == {
        predicates.SECRETS,
        predicates.EXPOSURE,
        predicates.PROVENANCE,
    }


def test_a_secret_that_may_be_there_is_told_with_its_reason(shop: Workshop) -> None:
    allowed = (AllowedSecret("/srv/.env", "a test's"), AllowedSecret("/etc/gone", "it was there"))
    made = attester(shop, Seal(scan=Scan(scanners=False, allowed=allowed)))
    found = said(made)[predicates.SECRETS]
    assert found["found"] == 0
    assert [one["reason"] for one in found["allowed"]] == ["a test's"]
    assert made.warnings == ["seal.scan.allow_secrets: nothing is found at /etc/gone; take it out."]


def test_the_provenance_names_all_that_had_a_part(shop: Workshop) -> None:
    made = attester(shop, builder="https://ci.example.org", lock="sha256:" + "c" * 64)
    found = said(made)[predicates.PROVENANCE]
    built, ran = found["buildDefinition"], found["runDetails"]
    materials = {one["name"]: one for one in built["resolvedDependencies"]}
    assert list(materials) == [
        *("definition", "base", "base layer", "lock", "layer app"),
        *("collection acme.web", "collection kiln.immutable"),
    ]
    assert materials["base"]["annotations"]["mirror"] == "http://deb.example.org/debian"
    assert materials["layer app"]["annotations"]["role"] == "acme.web.app"
    assert built["externalParameters"]["suite"] == "trixie"
    assert ran["builder"]["id"] == "https://ci.example.org"
    assert ran["metadata"]["invocationId"] == made.sealed.bake_key
    assert (ran["metadata"]["startedOn"], ran["metadata"]["finishedOn"]) == (
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:14:20Z",
    )


def test_a_base_of_ours_is_named_by_its_version(shop: Workshop) -> None:
    made = attester(shop, parent="server 1.0.4")
    on_parent = replace(made.sealed.definition, base=Parent("server"))
    made = replace(made, sealed=replace(made.sealed, definition=on_parent))
    found = said(made)[predicates.PROVENANCE]["buildDefinition"]["resolvedDependencies"]
    assert found[1]["annotations"] == {"version": "server 1.0.4"}
    bill = said(made)[predicates.CYCLONEDX]
    assert "base server" in str(bill)


def test_a_person_is_told_what_matters(shop: Workshop) -> None:
    told = findings_of(attester(shop).statements())
    assert told["packages"] == 1
    assert told["fixable"] == []
    assert [one["rule"] for one in told["secrets"]] == ["dot-env"]
