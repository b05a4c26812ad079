# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What we sign, cosign and podman believe; what was changed, both refuse."""

from __future__ import annotations

import io
import json
import tarfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import Mount, Toolbox
from ansible_collections.kiln.immutable.plugins.module_utils.core import canonical
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import MANIFEST
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer,
    Image,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.client import connect
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.name import Repository
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.push import push
from ansible_collections.kiln.immutable.plugins.module_utils.oci.statement import Statement
from ansible_collections.kiln.immutable.plugins.module_utils.trust.attachments import (
    Attached,
    read_attached,
    tag_of,
    write_attached,
)
from ansible_collections.kiln.immutable.plugins.module_utils.trust.keys import (
    PrivateKey,
    decrypt_key,
    encrypt_key,
    generate_key,
)
from ansible_collections.kiln.immutable.plugins.module_utils.trust.notary import (
    keep_statements,
    sign_version,
)

STATEMENTS = {
    "slsaprovenance1": Statement(
        "https://slsa.dev/provenance/v1",
        {"buildDefinition": {"buildType": "urn:x"}, "runDetails": {"builder": {"id": "urn:x"}}},
    ),
    "cyclonedx": Statement("https://cyclonedx.org/bom", {"bomFormat": "CycloneDX"}),
    "urn:example:review": Statement("urn:example:review", {"approved": True}),
}
KEY, OTHER = generate_key(), generate_key()


@dataclass(frozen=True, slots=True)
class Published:
    """An image in the registry.

    :param folder: with the keys and settings that the tools read.
    """

    image: Image
    reference: str
    tools: Toolbox
    folder: Path

    def cosign(self, *arguments: str, key: str = "key.pub") -> Completed:
        """Ask cosign, which has no transparency log to look into."""
        known = ["--key", f"/trust/{key}", "--insecure-ignore-tlog=true"]
        return self._run("cosign", *arguments, *known, self.reference)

    def podman(self, key: str = "key.pub") -> Completed:
        """Pull it with podman under a policy that asks for a signature by *key*."""
        policy = f"/trust/policy-{key}.json"
        return self._run(
            *("podman", "--root", "/var/tmp/root", "--runroot", "/run/root"),
            *("--storage-driver", "vfs", "pull", "--tls-verify=false"),
            *("--signature-policy", policy, self.reference),
        )

    def _run(self, *argv: str) -> Completed:
        mounts = [
            Mount(str(self.folder), "/trust"),
            Mount(str(self.folder / "registries.d"), "/etc/containers/registries.d"),
        ]
        # Without it podman takes itself for rootless, and asks for a namespace of its own.
        options = ["--cap-add", "SYS_ADMIN"]
        return self.tools.run(argv, mounts=mounts, network="host", options=options, check=False)


Publish = Callable[..., Published]


@pytest.fixture
def publish(registry: str, tools: Toolbox, layout: Layout, tmp_path: Path) -> Publish:
    """Give the function that signs and pushes an image, with a change in between if asked for."""
    folder = tmp_path / "trust"
    (folder / "registries.d").mkdir(parents=True)
    settings = {"docker": {registry: {"use-sigstore-attachments": True}}}
    (folder / "registries.d" / "registry.yaml").write_text(json.dumps(settings), "utf-8")
    for name, key in (("key.pub", KEY), ("other.pub", OTHER)):
        (folder / name).write_text(key.public.pem, "ascii")
        rule = {
            "type": "sigstoreSigned",
            "keyPath": f"/trust/{name}",
            "signedIdentity": {"type": "matchRepository"},
        }
        policy = {"default": [{"type": "reject"}], "transports": {"docker": {registry: [rule]}}}
        (folder / f"policy-{name}.json").write_text(json.dumps(policy), "utf-8")

    def make(
        name: str, *, key: PrivateKey = KEY, change: Callable[[Image], None] = lambda _image: None
    ) -> Published:
        image = small_image(layout, name)
        repository = f"{registry}/{name}"
        keep_statements(layout, image, repository, STATEMENTS.values())
        sign_version(layout, image, repository, key)
        change(image)
        client = connect(Repository.parse(repository))
        push(client, layout, image.index.digest, "1.0.1")
        return Published(image, f"{repository}:1.0.1", tools, folder)

    return make


def test_cosign_and_podman_believe_what_we_sign(publish: Publish) -> None:
    web = publish("web")
    verified = web.cosign("verify", "--output", "json")
    assert verified.status == 0, verified.stderr
    digest = json.loads(verified.stdout)[0]["critical"]["image"]["docker-manifest-digest"]
    assert digest == web.image.index.digest
    for kind in STATEMENTS:
        attested = web.cosign("verify-attestation", "--type", kind)
        assert attested.status == 0, attested.stderr
        assert json.loads(attested.stdout)["payloadType"] == "application/vnd.in-toto+json"
    pulled = web.podman()
    assert pulled.status == 0, pulled.stderr


def test_both_refuse_another_key(publish: Publish) -> None:
    web = publish("web-other-key", key=OTHER)
    assert web.cosign("verify", key="other.pub").status == 0
    assert web.podman("other.pub").status == 0
    assert web.cosign("verify").status != 0
    assert web.cosign("verify-attestation", "--type", "cyclonedx").status != 0
    refused = web.podman()
    assert refused.status != 0
    assert b"rejected" in refused.stderr


def test_both_refuse_a_changed_byte(publish: Publish, layout: Layout) -> None:
    def change(image: Image) -> None:
        for digest in (image.index.digest, image.manifest.digest):
            for kind in ("sig", "att"):
                changed = [
                    Attached(one.media_type, _flip(one.content), one.annotations)
                    for one in read_attached(layout, digest, kind)
                ]
                write_attached(layout, digest, kind, changed)

    web = publish("web-changed", change=change)
    assert web.cosign("verify").status != 0
    assert web.cosign("verify-attestation", "--type", "cyclonedx").status != 0
    refused = web.podman()
    assert refused.status != 0
    assert b"rejected" in refused.stderr


def test_both_refuse_an_image_that_was_changed_after_it_was_signed(
    publish: Publish, layout: Layout, registry: str
) -> None:
    web = publish("web-replaced")
    index = json.loads(layout.read(web.image.index))
    (listed,) = index["manifests"]
    manifest = json.loads(layout.read(web.image.manifest))
    other = layout.put(canonical.encode({**manifest, "annotations": {"x": "y"}}), MANIFEST)
    _put(
        f"http://{registry}/v2/web-replaced/manifests/{other.digest}", layout.read(other), MANIFEST
    )
    index["manifests"] = [{**listed, "digest": other.digest, "size": other.size}]
    content = canonical.encode(index)
    _put(f"http://{registry}/v2/web-replaced/manifests/1.0.1", content, web.image.index.media_type)
    assert web.cosign("verify").status != 0
    assert web.podman().status != 0


def test_both_refuse_a_signature_of_another_image(publish: Publish, layout: Layout) -> None:
    signed = publish("web-signed")

    def change(image: Image) -> None:
        for mine, theirs in (
            (image.index.digest, signed.image.index.digest),
            (image.manifest.digest, signed.image.manifest.digest),
        ):
            for kind in ("sig", "att"):
                layout.tag(tag_of(mine, kind), layout.tags()[tag_of(theirs, kind)])

    web = publish("web-borrowed", change=change)
    assert web.cosign("verify").status != 0
    assert web.cosign("verify-attestation", "--type", "cyclonedx").status != 0
    assert web.podman().status != 0


def test_cosign_and_we_read_each_others_keys(tools: Toolbox, tmp_path: Path) -> None:
    (tmp_path / "ours.key").write_bytes(encrypt_key(KEY, b"word"))
    mounts = [Mount(str(tmp_path), "/keys", read_only=False)]
    env = {"COSIGN_PASSWORD": "word"}
    shown = tools.run(["cosign", "public-key", "--key", "/keys/ours.key"], mounts=mounts, env=env)
    assert shown.stdout.decode().strip() == KEY.public.pem.strip()
    argv = ["cosign", "generate-key-pair", "--output-key-prefix", "/keys/theirs"]
    tools.run(argv, mounts=mounts, env=env)
    theirs = decrypt_key((tmp_path / "theirs.key").read_bytes(), b"word", "theirs.key")
    assert theirs.public.pem.strip() == (tmp_path / "theirs.pub").read_text("ascii").strip()


def small_image(layout: Layout, text: str) -> Image:
    """Write an image of one file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("file")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text.encode()))
    layer = store_layer(layout, [stream.getvalue()])
    return write_image(layout, ImageConfig("amd64", 1), [HistoryLayer(layer, "kiln: base")])


def _flip(content: bytes) -> bytes:
    """Change one byte of what was signed, so that it stays JSON and base64."""
    place = content.index(b'"payload":"') + 40 if b'"payload":"' in content else 0
    if place:
        return (
            content[:place]
            + (b"A" if content[place : place + 1] != b"A" else b"B")
            + content[place + 1 :]
        )
    return content.replace(b"cosign container", b"cosigm container")


def _put(url: str, content: bytes, media_type: str) -> None:
    request = urllib.request.Request(
        url, data=content, method="PUT", headers={"Content-Type": media_type}
    )
    with urllib.request.urlopen(request, timeout=30):
        pass
