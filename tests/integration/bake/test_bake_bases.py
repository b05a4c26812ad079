# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of base that are not bootstrapped: a tar, an OCI layout, an image of a registry."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kiln.immutable.tests.integration.registry.server import start, stop

Docker = Callable[..., str]


@pytest.fixture(scope="module")
def layout(stocked: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an OCI layout that skopeo wrote of an image of ours."""
    folder = tmp_path_factory.mktemp("layout")
    argv = ["skopeo", "--insecure-policy", "copy", "--quiet"]
    source = f"oci:{stocked.home}/store:{stocked.names[0]}-1.0.1"
    subprocess.run([*argv, source, f"oci:{folder}:1"], check=True)
    return folder


@pytest.fixture(scope="module")
def manifest(layout: Path) -> str:
    """Return the digest of the one manifest in the layout."""
    (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    assert isinstance(entry["digest"], str)
    return entry["digest"]


@pytest.fixture(scope="module")
def root_tar(layout: Path, manifest: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root filesystem as a tar: the first layer of the image, as it is stored."""
    document = json.loads((layout / "blobs" / manifest.replace(":", "/")).read_bytes())
    path = tmp_path_factory.mktemp("tar") / "root.tar.gz"
    path.hardlink_to(layout / "blobs" / document["layers"][0]["digest"].replace(":", "/"))
    return path


def digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def test_a_tar_is_a_base(team: Any, root_tar: Path) -> None:
    name = team.name()
    archive = {"path": str(root_tar), "digest": digest_of(root_tar)}
    team.image(name, team.file_role(), base={"archive": archive})
    team.bake()
    assert team.cat(name, "/srv/app") == "one"
    assert team.inspect(name)["Config"]["Labels"]["io.kiln.suite"] == "bookworm"
    assert f"{name} 1.0.1: nothing to do." in team.bake().output


def test_a_tar_with_another_digest_is_refused(team: Any, root_tar: Path) -> None:
    name = team.name()
    archive = {"path": str(root_tar), "digest": "sha256:" + "0" * 64}
    team.image(name, team.file_role(), base={"archive": archive})
    run = team.bake(ends=2)
    assert f"{root_tar} has the digest {digest_of(root_tar)}" in run.output
    assert team.numbers(name) == []
    assert team.containers() == []


def test_source_date_epoch_dates_the_image_and_its_files(
    team: Any, root_tar: Path, docker: Docker
) -> None:
    name = team.name()
    archive = {"path": str(root_tar), "digest": digest_of(root_tar)}
    team.image(name, team.file_role(), base={"archive": archive})
    team.bake(SOURCE_DATE_EPOCH="1500000000")
    assert team.inspect(name)["Created"] == "2017-07-14T02:40:00Z"
    argv = ["run", "--rm", "--entrypoint", "stat", f"kiln/{name}:1.0.1", "--format", "%Y"]
    assert docker(*argv, "/srv/app", "/usr") == "1500000000\n1500000000"
    again = team.bake("--check", SOURCE_DATE_EPOCH="1500000001")
    assert f"{name}: its base is not there yet" in again.output
    refused = team.bake(SOURCE_DATE_EPOCH="yesterday", ends=2)
    assert "SOURCE_DATE_EPOCH is 'yesterday'" in refused.output


def test_a_layout_is_a_base_whose_layers_are_kept(team: Any, layout: Path, manifest: str) -> None:
    name = team.name()
    archive = {"path": str(layout), "digest": manifest}
    team.image(name, team.file_role(), base={"archive": archive})
    team.bake()
    assert team.cat(name, "/srv/app") == "one"
    assert team.cat(name, "/srv/warm") == "one"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run Debian's registry on the loopback; give its address."""
    server = start(tmp_path_factory.mktemp("registry"))
    yield server.host.replace("localhost", "127.0.0.1")
    stop(server)


def test_an_image_of_a_registry_is_a_base(
    team: Any, registry: str, layout: Path, docker: Docker
) -> None:
    argv = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
    target = f"docker://{registry}/debian:12"
    pushed = layout.parent / "pushed"
    subprocess.run([*argv, "--digestfile", pushed, f"oci:{layout}:1", target], check=True)
    reference = f"{registry}/debian@{pushed.read_text().strip()}"
    name = team.name()
    team.image(name, team.file_role(), base={"registry": {"image": reference}})
    try:
        run = team.bake()
        assert f"Pulling {reference}" in run.output
        assert team.cat(name, "/srv/app") == "one"
        assert team.cat(name, "/srv/warm") == "one"
        assert f"{name} 1.0.1: nothing to do." in team.bake().output
        team.refresh()
        lock = yaml.safe_load((team.images / f"{name}.lock.yml").read_text())
        digest = reference.partition("@")[2]
        assert lock["base"] == {"kind": "registry", "digest": digest}
        assert lock["toolkit"]
        docker("image", "rm", reference, check=False)
        team.bake("-e", "kiln_network=none")
        assert team.numbers(name) == ["1.0.1"]
    finally:
        docker("image", "rm", reference, check=False)


def test_an_image_that_the_registry_has_not_is_an_error(team: Any, registry: str) -> None:
    name, digest = team.name(), "sha256:" + "0" * 64
    image = f"{registry}/debian@{digest}"
    team.image(name, team.file_role(), base={"registry": {"image": image}})
    run = team.bake(ends=2)
    assert "docker failed" in run.output
    assert digest in run.output or "not found" in run.output
    assert team.numbers(name) == []
