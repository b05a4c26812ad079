# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions on Debian's own registry: there and back, read by others, cut off, and out of room."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.changes import (
    Promotion,
    promote,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import (
    MANIFEST,
    Descriptor,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.digest import sha256_bytes
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.references import closure
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.access import (
    RegistryError,
    WrongContent,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.pull import pull
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.push import push
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.tags import (
    follow,
    prune,
    remove_tag,
)

USER, PASSWORD = "ann", "a secret of ann's"


def run(*argv: str, **environment: str) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def name() -> str:
    """Return the name of a repository that no other test uses."""
    return f"team-{uuid.uuid4().hex[:8]}/web"


@pytest.fixture
def image(home: Any) -> Any:
    """Return a version of two layers, one larger than a chunk."""
    return home.version("web", home.layer(os.urandom(3 << 20)), home.layer(os.urandom(99)))


def same_blobs(one: Layout, other: Layout, index: str) -> bool:
    """Whether both hold the same bytes of everything that *index* leads to."""
    found = closure(one, index)
    pairs = ((one.path(digest), other.path(digest)) for digest in found.sizes)
    return not found.unread and all(a.read_bytes() == b.read_bytes() for a, b in pairs)


def test_what_was_pushed_is_read_by_skopeo_and_podman(
    home: Any, registry: Any, image: Any, name: str, tmp_path: Path
) -> None:
    tag = image.index.digest.replace(":", "-") + ".sig"
    config = home.layout.put(b"{}", "application/vnd.oci.image.config.v1+json").as_json()
    layer = home.layout.put(b"a payload", "application/vnd.dev.cosign.simplesigning.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config}
    content = json.dumps({**manifest, "layers": [layer.as_json()]}).encode()
    signature = home.layout.put(content, MANIFEST)
    home.layout.tag(tag, signature)
    client = registry.client(name, chunk=1 << 20)
    pushed = push(client, home.layout, image.index.digest, "1.0.1")
    assert pushed.tags == (tag, "1.0.1")
    there = f"{registry.host}/{name}"
    raw = run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{there}:1.0.1")
    assert sha256_bytes(raw.encode()) == image.index.digest
    copied = Layout(tmp_path / "copied")
    target = f"oci:{copied.root}:web"
    source = f"docker://{there}:1.0.1"
    run("skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", source, target)
    assert same_blobs(home.layout, copied, image.index.digest)
    signed = run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{there}:{tag}")
    assert sha256_bytes(signed.encode()) == signature.digest
    # Podman takes no long paths.
    with tempfile.TemporaryDirectory(prefix="kiln-podman-", dir="/tmp") as folder:
        podman = ["podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run"]
        podman += ["--storage-driver", "vfs"]
        run(*podman, "pull", "--quiet", "--tls-verify=false", f"{there}:1.0.1")
        listed = json.loads(run(*podman, "image", "inspect", f"{there}:1.0.1"))
        run(*podman, "rmi", "--all", "--force")
    assert "sha256:" + listed[0]["Id"] == image.config.digest


def test_oras_reads_manifests_and_blobs(
    registry: Any, home: Any, image: Any, name: str, oras: Callable[..., str]
) -> None:
    push(registry.client(name), home.layout, image.index.digest, "1.0.1")
    there = f"{registry.host}/{name}"
    manifest = oras("manifest", "fetch", "--plain-http", f"{there}:1.0.1")
    assert sha256_bytes(manifest.encode()) == image.index.digest
    layer = image.layers[1].descriptor.digest
    described = json.loads(
        oras("blob", "fetch", "--plain-http", "--descriptor", f"{there}@{layer}")
    )
    assert described["digest"] == layer


def test_it_comes_back_byte_for_byte(
    home: Any, registry: Any, image: Any, name: str, tmp_path: Path
) -> None:
    push(registry.client(name, chunk=1 << 20), home.layout, image.index.digest, "1.0.1")
    other = Layout(tmp_path / "other")
    other.ensure()
    pulled = pull(registry.client(name), other, image.index.digest, "web-1.0.1")
    assert pulled.tags == ("web-1.0.1",)
    assert same_blobs(home.layout, other, image.index.digest)
    assert not pull(registry.client(name), other, image.index.digest, "web-1.0.1").changed
    assert not push(registry.client(name), other, image.index.digest, "1.0.1").changed


def test_a_version_on_a_base_that_is_there_is_its_own_layers_alone(
    home: Any, registry: Any, name: str
) -> None:
    base, app = home.layer(os.urandom(2 << 20)), home.layer(os.urandom(50_000))
    first = home.version("web", base, home.layer(b"an app"))
    second = home.version("web", base, app)
    push(registry.client(name), home.layout, first.index.digest, "1.0.1")
    pushed = push(registry.client(name), home.layout, second.index.digest, "1.0.2")
    assert pushed.wire == pushed.bytes("sent") == app.descriptor.size + second.config.size
    assert pushed.bytes("skipped") == base.descriptor.size
    # Another repository of the same registry has it too.
    third = home.version("api", base, home.layer(b"another"))
    sources = {base.descriptor.digest: name}
    beside = registry.client(f"{name}-api")
    mounted = push(beside, home.layout, third.index.digest, "1.0.1", sources=sources)
    assert mounted.bytes("mounted") == base.descriptor.size
    assert mounted.wire < 1000


def through(cutter: Any, registry: Any) -> Any:
    """Return the registry as it is behind the proxy."""
    return replace(registry, host=f"localhost:{cutter.port}")


def test_a_connection_cut_in_a_blob_is_no_end_of_a_push(
    home: Any, registry: Any, cutter: Any, image: Any, name: str, tmp_path: Path
) -> None:
    cutter.cuts[:] = [1_500_000, 700_000]
    client = through(cutter, registry).client(name, chunk=1 << 20, parallel=1)
    pushed = push(client, home.layout, image.index.digest, "1.0.1")
    assert cutter.cuts == []
    # This registry gives up an upload of which a chunk came in part: its blob begins anew.
    assert pushed.wire <= 3 * pushed.bytes("sent")
    other = Layout(tmp_path / "other")
    other.ensure()
    pull(registry.client(name), other, image.index.digest, "web")
    assert same_blobs(home.layout, other, image.index.digest)


def test_a_chunk_that_did_not_arrive_is_all_that_is_sent_again(
    home: Any, registry: Any, cutter: Any, image: Any, name: str
) -> None:
    cutter.unheard[:] = [2, 5]
    client = through(cutter, registry).client(name, chunk=1 << 20, parallel=1)
    pushed = push(client, home.layout, image.index.digest, "1.0.1")
    # Four chunks, two of them twice.
    assert cutter.patches == 6
    assert pushed.wire <= pushed.bytes("sent") + 2 * (1 << 20)
    assert registry.client(name).resolve("1.0.1").digest == image.index.digest


def test_channel_tags_are_moved_and_removed_alone(home: Any, registry: Any, name: str) -> None:
    one = home.version("web", home.layer(b"one")).index.digest
    two = home.version("web", home.layer(b"two")).index.digest
    client = registry.client(name)
    for digest, number in ((one, "1.0.1"), (two, "1.0.2")):
        push(client, home.layout, digest, number)
    follow(client, {"dev": two, "prod": one})
    assert (
        run(
            "skopeo",
            "inspect",
            "--raw",
            "--tls-verify=false",
            f"docker://{registry.host}/{name}:prod",
        ).encode()
        == home.layout.path(one).read_bytes()
    )
    follow(client, {"prod": two})
    assert remove_tag(client, "dev")
    assert client.tags() == ["1.0.1", "1.0.2", "prod"]
    assert client.resolve("prod").digest == two
    pruned = prune(client, {one: ["1.0.1"], two: ["1.0.2"]})
    assert pruned.kept == {two: "it is also tagged prod"}
    assert pruned.deleted[0] == one
    assert client.resolve(one) is None
    assert client.tags() == ["1.0.2", "prod"]


def test_a_damaged_blob_of_the_registry_is_named(
    home: Any, registry: Any, image: Any, name: str, tmp_path: Path
) -> None:
    push(registry.client(name), home.layout, image.index.digest, "1.0.1")
    layer = image.layers[1].descriptor
    content = bytearray(registry.blob(layer.digest).read_bytes())
    content[-1] ^= 1
    registry.blob(layer.digest).write_bytes(content)
    other = Layout(tmp_path / "other")
    other.ensure()
    with pytest.raises(WrongContent, match=layer.digest):
        pull(registry.client(name), other, image.index.digest, "web")
    assert other.tags() == {}
    assert not other.has(layer.digest)


def login(folder: Path, host: str, password: str = PASSWORD) -> str:
    """Write what docker login leaves; return the folder for DOCKER_CONFIG."""
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return str(folder)


def test_a_login_and_an_authority_of_ones_own(
    home: Any, secured: Any, image: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", login(tmp_path / "docker", secured.host))
    push(secured.client(name), home.layout, image.index.digest, "1.0.1")
    assert secured.client(name).tags() == ["1.0.1"]
    monkeypatch.setenv("DOCKER_CONFIG", login(tmp_path / "docker", secured.host, "wrong"))
    with pytest.raises(RegistryError, match="lets nobody in as ann") as caught:
        secured.client(name).tags()
    assert "wrong" not in str(caught.value)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nothing"))
    with pytest.raises(RegistryError, match=f"docker login {secured.host}"):
        secured.client(name).tags()


def test_a_credential_helper_is_asked(
    home: Any, secured: Any, image: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    answer = json.dumps({"Username": USER, "Secret": PASSWORD})
    helper = tools / "docker-credential-tests"
    helper.write_text(
        f'#!/bin/sh\nread host\n[ "$1 $host" = "get {secured.host}" ] || exit 3\n'
        f'cat <<"END"\n{answer}\nEND\n'
    )
    helper.chmod(0o755)
    config = {"credHelpers": {secured.host: "tests"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    push(secured.client(name), home.layout, image.index.digest, "1.0.1")
    assert secured.client(name).tags() == ["1.0.1"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of one MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1m", "kiln-registry", str(folder))
    yield folder
    run("umount", "--lazy", str(folder))


def test_a_registry_without_room_is_an_error_and_no_version(
    home: Any, image: Any, small_disk: Path, start: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    server = start(tmp_path / "server", data=small_disk)
    client = server.client(name, attempts=2)
    with pytest.raises(RegistryError) as caught:
        push(client, home.layout, image.index.digest, "1.0.1")
    assert caught.value.status == 500 or "500" in str(caught.value), caught.value
    assert client.resolve("1.0.1") is None


def test_other_bytes_than_the_digest_says_are_refused_by_the_registry(
    registry: Any, name: str
) -> None:
    blob = Descriptor("x", sha256_bytes(b"other"), 5)
    with pytest.raises(RegistryError, match="DIGEST_INVALID"):
        registry.client(name).put_blob(blob, lambda: io.BytesIO(b"bytes"))
    assert not registry.client(name).has_blob(blob)


def test_push_and_pull_as_playbooks(
    home: Any, registry: Any, image: Any, name: str, second_home: Callable[[], Any]
) -> None:
    place = ["-e", "kiln_image=web", "-e", f"kiln_registry={registry.host}/{name}"]
    looked = home.play("push", *place, "--check", "--diff")
    assert f"tag {registry.host}/{name}/web:1.0.1" in looked
    assert "Would send" in looked
    client = registry.client(f"{name}/web")
    assert client.resolve("1.0.1") is None
    assert "changed=1" in home.play("push", *place)
    assert client.resolve("1.0.1").digest == image.index.digest
    assert "changed=0" in home.play("push", *place)
    there = second_home()
    place += ["-e", "kiln_load=false"]
    assert "Would fetch" in there.play("pull", *place, "-e", "kiln_version=1.0.1", "--check")
    assert not (there.root / "store").exists()
    # The store alone needs no engine.
    nowhere = {"DOCKER_HOST": "unix:///nowhere"}
    assert "changed=1" in there.play("pull", *place, "-e", "kiln_version=1.0.1", **nowhere)
    assert "changed=0" in there.play("pull", *place, **nowhere)
    assert same_blobs(home.layout, there.layout, image.index.digest)
    assert "problems: 0" in there.play("fsck")


@pytest.fixture
def runs() -> Iterator[str]:
    """Return the name of an image that the engine has nothing of, before and after."""
    name = f"pulled-{uuid.uuid4().hex[:8]}"
    yield name
    engine = Engine()
    for reference in engine.references(f"kiln/{name}"):
        engine.remove_image(reference)


def test_what_was_pulled_is_in_the_engine_under_the_names_of_its_channels(
    home: Any, registry: Any, runs: str, name: str, second_home: Callable[[], Any]
) -> None:
    image = home.version(runs, home.layer(os.urandom(99)))
    push(registry.client(f"{name}/{runs}"), home.layout, image.index.digest, "1.0.1")
    wanted = Promotion(runs, "a test", channel="dev")
    promote(home.catalog, wanted)
    place = ["-e", f"kiln_image={runs}", "-e", f"kiln_registry={registry.host}/{name}"]
    there, engine = second_home(), Engine()
    lost = there.play("pull", *place, ends=2, DOCKER_HOST="unix:///nowhere")
    assert "kiln_load" in lost
    assert not (there.root / "store").exists()
    looked = there.play("pull", *place, "--check", "--diff")
    told = [f"kiln/{runs}:1.0.1 is loaded", f"kiln/{runs}:dev is kiln/{runs}:1.0.1"]
    assert all(sentence in looked for sentence in told)
    assert engine.references(f"kiln/{runs}") == []
    assert "changed=1" in there.play("pull", *place)
    for tag in ("1.0.1", "dev"):
        held = engine.image(f"kiln/{runs}:{tag}")
        assert held is not None
        assert held.id == image.config.digest
    assert "changed=0" in there.play("pull", *place)


def test_what_is_asked_for_wrongly_is_said(
    home: Any, registry: Any, image: Any, name: str, second_home: Callable[[], Any]
) -> None:
    image_option, place = ["-e", "kiln_image=web"], ["-e", f"kiln_registry={registry.host}/{name}"]
    assert "No registry is named" in home.play("push", *image_option, ends=2)
    channel = home.play("push", *image_option, *place, "-e", "kiln_channel=prod", ends=2)
    assert "web has no channel prod" in channel
    missing = home.play("pull", *image_option, *place, "-e", "kiln_load=false", ends=2)
    assert f"{registry.host}/{name}/web has no {image.index.digest}" in missing
    assert "has not web 1.0.1" in second_home().play("push", *image_option, *place, ends=2)


def test_a_home_without_a_layout_is_no_crash(home: Any, registry: Any, name: str) -> None:
    with pytest.raises(DriverError, match="is missing"):
        push(registry.client(name), home.layout, "sha256:" + "0" * 64, "1.0.1")
