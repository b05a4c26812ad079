# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bills of materials: valid for the libraries, the same bytes again, and with layers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core import canonical
from ansible_collections.kiln.immutable.plugins.module_utils.trust import sbom
from ansible_collections.kiln.immutable.plugins.module_utils.trust.materials import (
    ImageLayer,
    Materials,
    os_release,
    package_url,
    spdx_licence,
)
from ansible_collections.kiln.immutable.plugins.module_utils.trust.packages import Package
from cyclonedx.schema import SchemaVersion
from cyclonedx.spdx import is_supported_id
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

LIBC = Package(
    name="libc6",
    version="2.36-9+deb12u10",
    architecture="amd64",
    source="glibc",
    source_version="2.36-9+deb12u10",
    maintainer="GNU Libc Maintainers <debian-glibc@lists.debian.org>",
    homepage="https://www.gnu.org/software/libc/libc.html",
    summary="GNU C Library: Shared libraries",
    licences=("GPL-2", "LGPL-2.1+", "public-domain"),
)
NGINX = Package(
    "nginx", "1:1.22.1-9+b1", "amd64", "nginx", "1.22.1-9", licences=("Expat", "MIT"), layer=1
)
ODD = Package("g++~odd", "0~1", "all", "g++~odd", "0~1", maintainer="Nobody", layer=1)
MATERIALS = Materials(
    name="web",
    digest="sha256:" + "a" * 64,
    epoch=1_700_000_000,
    layers=[ImageLayer("bookworm", "sha256:" + "1" * 64), ImageLayer("web", "sha256:" + "2" * 64)],
    packages=[ODD, LIBC, NGINX],
    system={"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"},
)


def components(document: Any) -> dict[str, Any]:
    return {one["name"]: one for one in document["components"]}


@pytest.mark.parametrize("packages", [MATERIALS.packages, []])
def test_cyclonedx_is_valid_for_its_library(packages: list[Package]) -> None:
    made = sbom.cyclonedx(replace(MATERIALS, packages=packages))
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(made.predicate)) is None


@pytest.mark.parametrize("packages", [MATERIALS.packages, []])
def test_spdx_is_valid_for_its_library(packages: list[Package]) -> None:
    made = sbom.spdx(replace(MATERIALS, packages=packages))
    parser: Any = JsonLikeDictParser
    document = parser().parse(json.loads(json.dumps(made.predicate)))
    assert validate_full_spdx_document(document) == []


def test_each_package_is_said_to_be_of_its_layer() -> None:
    found = components(sbom.cyclonedx(MATERIALS).predicate)
    layers = {
        name: {p["name"]: p["value"] for p in one["properties"]}[sbom.LAYER]
        for name, one in found.items()
        if one["type"] == "library"
    }
    assert layers == {"libc6": "bookworm", "nginx": "web", "g++~odd": "web"}
    document = sbom.spdx(MATERIALS).predicate
    contained = {
        (one["spdxElementId"], one["relatedSpdxElement"])
        for one in document["relationships"]
        if one["relationshipType"] == "CONTAINS"
    }
    assert ("SPDXRef-layer-000", "SPDXRef-package-00001-libc6") in contained
    assert ("SPDXRef-layer-001", "SPDXRef-package-00002-nginx") in contained


def test_versions_sources_and_licences_are_there() -> None:
    found = components(sbom.cyclonedx(MATERIALS).predicate)
    assert found["nginx"]["purl"].startswith("pkg:deb/debian/nginx@1:1.22.1-9%2Bb1?arch=amd64")
    assert found["nginx"]["licenses"] == [{"license": {"acknowledgement": "declared", "id": "MIT"}}]
    named = [
        one["license"].get("id") or one["license"]["name"] for one in found["libc6"]["licenses"]
    ]
    assert sorted(named) == ["GPL-2.0-only", "LGPL-2.1-or-later", "public-domain"]
    assert found["debian"]["version"] == "12"


def test_nothing_in_a_bill_depends_on_the_clock_or_on_chance() -> None:
    program = (
        "import sys, json; sys.path[:0] = json.loads(sys.argv[1]);"
        "import test_sbom as t;"
        "sys.stdout.buffer.write(t.canonical.encode("
        "[t.sbom.cyclonedx(t.MATERIALS).predicate, t.sbom.spdx(t.MATERIALS).predicate]))"
    )
    here = os.path.dirname(__file__)
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, json.dumps([here, *sys.path])],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    mine = [sbom.cyclonedx(MATERIALS).predicate, sbom.spdx(MATERIALS).predicate]
    assert outputs == {canonical.encode(mine)}
    assert b"2023-11-14T22:13:20" in canonical.encode(mine)


def test_another_image_has_another_serial_number() -> None:
    other = replace(MATERIALS, digest="sha256:" + "b" * 64)
    numbers = {sbom.cyclonedx(one).predicate["serialNumber"] for one in (MATERIALS, other)}
    assert len(numbers) == 2


def test_a_purl_names_the_source_when_that_differs() -> None:
    assert package_url(LIBC, MATERIALS.system) == (
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12&upstream=glibc"
    )
    assert package_url(NGINX, {}) == (
        "pkg:deb/debian/nginx@1:1.22.1-9%2Bb1?arch=amd64&upstream=nginx%401.22.1-9"
    )


def test_licences_are_called_as_spdx_calls_them() -> None:
    for name in ("GPL-2+", "Expat", "BSD-3-clause", "Artistic", "LGPL-3"):
        known = spdx_licence(name)
        assert known is not None
        assert is_supported_id(known)
    assert spdx_licence("public-domain") is None


def test_os_release_is_read() -> None:
    assert os_release('ID=debian\n# x=y\nVERSION_ID="12"\n\n') == {
        "ID": "debian",
        "VERSION_ID": "12",
    }
