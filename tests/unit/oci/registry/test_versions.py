# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole versions: there and back, only what is missing, and whole after a death at any step."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.damage import DamagedBlob
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import MANIFEST
from ansible_collections.kiln.immutable.plugins.module_utils.oci.references import closure
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.access import (
    RegistryError,
    WrongContent,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.pull import pull
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.push import push
from ansible_collections.kiln.immutable.plugins.module_utils.trust.attachments import (
    Attached,
    read_attached,
    tag_of,
    write_attached,
)


@pytest.fixture
def image(shop: Any) -> Any:
    return shop.image(shop.layer(b"base" * 3000), shop.layer(b"app"))


def digest(image: Any) -> str:
    found: str = image.index.digest
    return found


def whole(layout: Any, index: str) -> bool:
    found = closure(layout, index)
    return not found.unread and all(layout.has(one) for one in found.sizes)


def test_a_version_comes_back_as_it_went(fake: Any, shop: Any, image: Any, elsewhere: Any) -> None:
    pushed = push(fake.client(), shop.layout, digest(image), "1.0.1")
    assert pushed.changed
    assert pushed.tags == ("1.0.1",)
    assert {one.how for one in pushed.blobs} == {"sent"}
    pulled = pull(fake.client(), elsewhere, digest(image), "web-1.0.1")
    assert pulled.changed
    assert elsewhere.digests() == shop.layout.digests()
    for one in shop.layout.digests():
        assert elsewhere.path(one).read_bytes() == shop.layout.path(one).read_bytes()
    assert elsewhere.tags()["web-1.0.1"].digest == digest(image)


def test_doing_it_again_does_nothing(fake: Any, shop: Any, image: Any, elsewhere: Any) -> None:
    push(fake.client(), shop.layout, digest(image), "1.0.1")
    pull(fake.client(), elsewhere, digest(image), "web-1.0.1")
    received, asked = fake.store.received, len(fake.store.asked)
    assert not push(fake.client(), shop.layout, digest(image), "1.0.1").changed
    assert not pull(fake.client(), elsewhere, digest(image), "web-1.0.1").changed
    assert fake.store.received == received
    assert {method for method, _path in fake.store.asked[asked:]} == {"HEAD", "GET"}


def test_looking_says_what_would_be_done_and_does_nothing(
    fake: Any, shop: Any, image: Any, elsewhere: Any
) -> None:
    looked = push(fake.client(), shop.layout, digest(image), "1.0.1", looks=True)
    assert fake.store.blobs == {}
    done = push(fake.client(), shop.layout, digest(image), "1.0.1")
    assert (looked.documents, looked.tags) == (done.documents, done.tags)
    assert looked.bytes("sent") == done.bytes("sent") == done.wire
    looked_at = pull(fake.client(), elsewhere, digest(image), "web-1.0.1", looks=True)
    assert elsewhere.digests() == []
    assert looked_at == pull(fake.client(), elsewhere, digest(image), "web-1.0.1")


def test_only_new_layers_are_sent(fake: Any, shop: Any) -> None:
    base, app = shop.layer(b"base" * 3000), shop.layer(b"another app")
    push(fake.client(), shop.layout, digest(shop.image(base)), "1.0.1")
    received = fake.store.received
    image = shop.image(base, app)
    pushed = push(fake.client(), shop.layout, digest(image), "1.0.2")
    assert pushed.bytes("sent") == app.descriptor.size + image.config.size
    assert pushed.bytes("skipped") == base.descriptor.size
    documents = image.index.size + image.manifest.size
    assert fake.store.received - received == pushed.wire + documents


def test_what_another_repository_has_is_mounted(fake: Any, shop: Any) -> None:
    base, app = shop.layer(b"base" * 3000), shop.layer(b"app")
    push(fake.client("team/debian"), shop.layout, digest(shop.image(base)), "1.0.1")
    sources = {base.descriptor.digest: "team/debian"}
    pushed = push(
        fake.client(), shop.layout, digest(shop.image(base, app)), "1.0.1", sources=sources
    )
    assert pushed.bytes("mounted") == base.descriptor.size
    assert ("team/web", base.descriptor.digest) in fake.store.blobs


def test_a_version_that_is_something_else_there_is_left_alone(fake: Any, shop: Any) -> None:
    one, other = shop.image(shop.layer(b"one")), shop.image(shop.layer(b"other"))
    push(fake.client(), shop.layout, digest(one), "1.0.1")
    with pytest.raises(DriverError, match=r"team/web:1\.0\.1 is sha256:"):
        push(fake.client(), shop.layout, digest(other), "1.0.1")
    assert fake.store.tags["team/web", "1.0.1"] == digest(one)


@pytest.mark.parametrize("step", range(14))
def test_a_push_that_dies_leaves_no_tag_without_its_version(
    fake: Any, shop: Any, image: Any, elsewhere: Any, step: int
) -> None:
    def die(handler: Any) -> bool:
        if len(handler.store.asked) <= step:
            return False
        handler.body()
        handler.refuse(403, "DENIED")
        return True

    fake.store.faults.append(die)
    died = False
    try:
        push(fake.client(parallel=1), shop.layout, digest(image), "1.0.1")
    except RegistryError:
        died = True
    fake.store.faults.clear()
    if ("team/web", "1.0.1") in fake.store.tags:
        assert not died or step >= 13
        pull(fake.client(), elsewhere, "1.0.1", "web")
        assert whole(elsewhere, digest(image))
    push(fake.client(), shop.layout, digest(image), "1.0.1")
    pull(fake.client(), elsewhere, "1.0.1", "web")
    assert whole(elsewhere, digest(image))


@pytest.mark.parametrize("step", range(12))
def test_a_pull_that_dies_names_nothing(
    fake: Any, shop: Any, image: Any, elsewhere: Any, step: int
) -> None:
    push(fake.client(), shop.layout, digest(image), "1.0.1")
    begun = len(fake.store.asked)

    def die(handler: Any) -> bool:
        if len(handler.store.asked) - begun <= step:
            return False
        handler.refuse(403, "DENIED")
        return True

    fake.store.faults.append(die)
    with pytest.raises(RegistryError):
        pull(fake.client(parallel=1), elsewhere, digest(image), "web")
    assert elsewhere.tags() == {}
    fake.store.faults.clear()
    pull(fake.client(), elsewhere, digest(image), "web")
    assert whole(elsewhere, digest(image))


def test_wrong_bytes_are_not_kept(fake: Any, shop: Any, image: Any, elsewhere: Any) -> None:
    push(fake.client(), shop.layout, digest(image), "1.0.1")
    layer = image.layers[0].descriptor
    content = bytearray(fake.store.blobs["team/web", layer.digest])
    content[-1] ^= 1
    fake.store.blobs["team/web", layer.digest] = bytes(content)
    with pytest.raises(WrongContent, match=layer.digest):
        pull(fake.client(), elsewhere, digest(image), "web")
    assert not elsewhere.has(layer.digest)
    assert elsewhere.tags() == {}


def test_a_damaged_version_is_not_pushed(fake: Any, shop: Any, image: Any) -> None:
    path = shop.layout.path(image.layers[0].descriptor.digest)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedBlob):
        push(fake.client(), shop.layout, digest(image), "1.0.1")
    assert fake.store.tags == {}


def test_what_is_not_there_cannot_be_pulled(fake: Any, elsewhere: Any) -> None:
    with pytest.raises(DriverError, match=r"team/web has no 1\.0\.1"):
        pull(fake.client(), elsewhere, "1.0.1", "web")


def attach(shop: Any, image: Any, *payloads: bytes) -> str:
    """Store a manifest like cosign's, with a layer for each payload; return its tag."""
    layers = [shop.blob(payload).as_json() for payload in payloads]
    config = shop.blob(b'{"rootfs": {"type": "layers", "diff_ids": []}}').as_json()
    content = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
    )
    tag = digest(image).replace(":", "-") + ".sig"
    shop.layout.tag(tag, shop.layout.put(content.encode(), MANIFEST))
    return tag


def test_signatures_go_with_their_version(fake: Any, shop: Any, image: Any, elsewhere: Any) -> None:
    tag = attach(shop, image, b"signed by ann")
    pushed = push(fake.client(), shop.layout, digest(image), "1.0.1")
    assert pushed.tags == (tag, "1.0.1")
    # The version is named only when its signatures are there.
    puts = [path for method, path in fake.store.asked if method == "PUT" and "/manifests/" in path]
    assert [path.rpartition("/")[2] for path in puts][-2:] == [tag, "1.0.1"]
    pulled = pull(fake.client(), elsewhere, digest(image), "web-1.0.1")
    assert pulled.tags == (tag, "web-1.0.1")
    assert elsewhere.tags()[tag] == shop.layout.tags()[tag]
    assert not push(fake.client(), elsewhere, digest(image), "1.0.1").changed


def test_a_signature_that_comes_later_is_a_push_of_its_own(
    fake: Any, shop: Any, image: Any
) -> None:
    push(fake.client(), shop.layout, digest(image), "1.0.1")
    tag = attach(shop, image, b"signed by ann")
    pushed = push(fake.client(), shop.layout, digest(image), "1.0.1")
    assert pushed.tags == (tag,)
    tag = attach(shop, image, b"signed by ann", b"signed by bob")
    assert push(fake.client(), shop.layout, digest(image), "1.0.1").tags == (tag,)


def test_a_signature_that_others_made_is_not_overwritten(
    fake: Any, shop: Any, image: Any, elsewhere: Any
) -> None:
    attach(shop, image, b"signed by ann")
    push(fake.client(), shop.layout, digest(image), "1.0.1")
    # Here only bob's is known.
    tag = attach(shop, image, b"signed by bob")
    assert push(fake.client(), shop.layout, digest(image), "1.0.1").tags == (tag,)
    pull(fake.client(), elsewhere, digest(image), "web")
    manifest = fake.client().fetch(tag)
    with fake.client().open_blob(shop.blob(b"signed by ann")) as stream:
        assert stream.read() == b"signed by ann"
    for payload in (b"signed by ann", b"signed by bob"):
        assert shop.blob(payload).digest in manifest.content.decode()
    assert not push(fake.client(), shop.layout, digest(image), "1.0.1").changed


def test_a_signature_that_only_this_store_has_outlives_a_pull(
    fake: Any, shop: Any, image: Any
) -> None:
    attach(shop, image, b"signed by ann")
    push(fake.client(), shop.layout, digest(image), "1.0.1")
    tag = attach(shop, image, b"signed by bob")
    assert pull(fake.client(), shop.layout, digest(image), "web-1.0.1").tags == (tag, "web-1.0.1")
    held = shop.layout.read(shop.layout.tags()[tag]).decode()
    for payload in (b"signed by ann", b"signed by bob"):
        assert shop.blob(payload).digest in held
    assert not pull(fake.client(), shop.layout, digest(image), "web-1.0.1").changed
    assert push(fake.client(), shop.layout, digest(image), "1.0.1").tags == (tag,)


def test_what_was_replaced_here_goes_from_the_registry_and_comes_back_from_nowhere(
    fake: Any, shop: Any, image: Any, elsewhere: Any
) -> None:
    def say(layout: Any, kind: str, *contents: bytes) -> str:
        told = [Attached("application/vnd.in-toto+json", one) for one in contents]
        write_attached(layout, digest(image), kind, told)
        return tag_of(digest(image), kind)

    def said(layout: Any, kind: str) -> list[bytes]:
        return [one.content for one in read_attached(layout, digest(image), kind)]

    tag = say(shop.layout, "att", b"a secret is in it", b"of another signer")
    push(fake.client(), shop.layout, digest(image), "1.0.1")
    pull(fake.client(), elsewhere, digest(image), "web")
    say(shop.layout, "att", b"it may be there", b"of another signer")
    assert push(fake.client(), shop.layout, digest(image), "1.0.1").tags == (tag,)
    # Who has the older ones does not bring them back.
    say(elsewhere, "att", b"a secret is in it", b"of another signer", b"of elsewhere")
    assert push(fake.client(), elsewhere, digest(image), "1.0.1").tags == (tag,)
    pull(fake.client(), elsewhere, digest(image), "web")
    pull(fake.client(), shop.layout, digest(image), "web-1.0.1")
    for layout in (shop.layout, elsewhere):
        assert sorted(said(layout, "att")) == [
            b"it may be there",
            b"of another signer",
            b"of elsewhere",
        ]
    assert not push(fake.client(), shop.layout, digest(image), "1.0.1").changed
    # Said again as it was first, it counts again.
    say(shop.layout, "att", b"a secret is in it", b"of another signer", b"of elsewhere")
    push(fake.client(), shop.layout, digest(image), "1.0.1")
    pull(fake.client(), elsewhere, digest(image), "web")
    assert b"a secret is in it" in said(elsewhere, "att")
    assert b"it may be there" not in said(elsewhere, "att")


def test_a_list_of_what_refers_to_a_manifest_is_kept_for_registries_without_one(
    fake: Any, shop: Any, image: Any
) -> None:
    subject = image.index.as_json()
    config = shop.blob(b"{}").as_json()
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": [],
        "subject": subject,
        "artifactType": "application/vnd.example",
    }
    referrer = shop.layout.put(json.dumps(value).encode(), MANIFEST)
    push(fake.client(), shop.layout, digest(image), "1.0.1")
    push(fake.client(), shop.layout, referrer.digest, "extra")
    assert [one.digest for one in fake.client().referrers(digest(image))] == [referrer.digest]
    assert not push(fake.client(), shop.layout, referrer.digest, "extra").changed


def test_several_blobs_travel_at_once(fake: Any, shop: Any) -> None:
    barrier = threading.Barrier(3, timeout=20)

    def meet(handler: Any) -> bool:
        if handler.command == "POST" and not barrier.broken:
            barrier.wait()
        return False

    fake.store.faults.append(meet)
    image = shop.image(shop.layer(b"one"), shop.layer(b"two"))
    push(fake.client(parallel=3), shop.layout, digest(image), "1.0.1")
    assert not barrier.broken
