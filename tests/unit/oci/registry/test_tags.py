# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags that follow, and removals that take nothing else along."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import MANIFEST
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.access import (
    RegistryError,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.push import push
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.tags import (
    TagMove,
    follow,
    prune,
    remove_tag,
)


@pytest.fixture
def one(fake: Any, shop: Any) -> str:
    """Return the digest of version 1.0.1, which is pushed."""
    image = shop.image(shop.layer(b"one"))
    push(fake.client(), shop.layout, image.index.digest, "1.0.1")
    return str(image.index.digest)


@pytest.fixture
def two(fake: Any, shop: Any) -> str:
    """Return the digest of version 1.0.2, which is pushed."""
    image = shop.image(shop.layer(b"two"))
    push(fake.client(), shop.layout, image.index.digest, "1.0.2")
    return str(image.index.digest)


def tags(fake: Any) -> dict[str, str]:
    return {tag: digest for (_name, tag), digest in fake.store.tags.items()}


def test_channels_are_named_and_moved(fake: Any, one: str, two: str) -> None:
    client = fake.client()
    assert follow(client, {"dev": two, "prod": one}) == [
        TagMove("dev", None, two),
        TagMove("prod", None, one),
    ]
    assert follow(client, {"dev": two, "prod": two}) == [TagMove("prod", one, two)]
    assert follow(client, {"dev": two, "prod": two}) == []
    assert tags(fake) == {"1.0.1": one, "1.0.2": two, "dev": two, "prod": two}


def test_looking_moves_nothing(fake: Any, one: str) -> None:
    assert follow(fake.client(), {"prod": one, "1.0.1": None}, looks=True) == [
        TagMove("1.0.1", one, None),
        TagMove("prod", None, one),
    ]
    assert tags(fake) == {"1.0.1": one}


def test_a_tag_cannot_name_what_is_not_there(fake: Any, one: str) -> None:
    with pytest.raises(DriverError, match="which the tag prod is to name"):
        follow(fake.client(), {"prod": "sha256:" + "0" * 64})


def test_a_tag_goes_and_those_of_the_same_digest_stay(fake: Any, one: str) -> None:
    client = fake.client()
    follow(client, {"dev": one, "prod": one})
    assert follow(client, {"dev": None}) == [TagMove("dev", one, None)]
    assert tags(fake) == {"1.0.1": one, "prod": one}
    assert client.fetch(one) is not None
    assert not remove_tag(client, "dev")


def test_where_nothing_can_be_deleted_a_tag_stays_what_it_was(fake: Any, one: str) -> None:
    client = fake.client()
    follow(client, {"dev": one})
    fake.store.deletes = False
    with pytest.raises(RegistryError, match="The tag dev of "):
        follow(client, {"dev": None})
    assert tags(fake) == {"1.0.1": one, "dev": one}


def test_a_version_goes_with_its_manifests(fake: Any, one: str, two: str) -> None:
    pruned = prune(fake.client(), {one: ["1.0.1"]})
    assert pruned.deleted[0] == one
    assert len(pruned.deleted) == 2
    assert tags(fake) == {"1.0.2": two}
    assert all(digest not in pruned.deleted for _name, digest in fake.store.manifests)
    assert prune(fake.client(), {one: ["1.0.1"]}).deleted == ()


def test_a_version_that_a_channel_names_stays(fake: Any, one: str) -> None:
    follow(fake.client(), {"prod": one})
    pruned = prune(fake.client(), {one: ["1.0.1"]})
    assert pruned.deleted == ()
    assert pruned.kept == {one: "it is also tagged prod"}
    assert tags(fake) == {"1.0.1": one, "prod": one}
    assert prune(fake.client(), {one: ["1.0.1", "prod"]}).deleted[0] == one


def test_a_manifest_that_two_versions_share_stays_with_the_other(fake: Any, shop: Any) -> None:
    image = shop.image(shop.layer(b"one"))
    both = json.loads(shop.layout.read(image.index))
    both["annotations"] = {"another": "index"}
    other = shop.layout.put(json.dumps(both).encode(), image.index.media_type)
    push(fake.client(), shop.layout, image.index.digest, "1.0.1")
    push(fake.client(), shop.layout, other.digest, "1.0.2")
    assert prune(fake.client(), {image.index.digest: ["1.0.1"]}).deleted == (image.index.digest,)
    assert fake.client().fetch(image.manifest.digest) is not None


def test_signatures_go_with_their_version_and_those_of_others_stay(fake: Any, shop: Any) -> None:
    images = {n: shop.image(shop.layer(n.encode())) for n in ("1.0.1", "1.0.2")}
    ends = {}
    for number, image in images.items():
        config = shop.blob(b"{}").as_json()
        layers = [shop.blob(f"signed {number}".encode()).as_json()]
        value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        ends[number] = image.index.digest.replace(":", "-") + ".sig"
        shop.layout.tag(ends[number], shop.layout.put(json.dumps(value).encode(), MANIFEST))
        push(fake.client(), shop.layout, image.index.digest, number)
    looked = prune(fake.client(), {images["1.0.1"].index.digest: ["1.0.1"]}, looks=True)
    assert len(tags(fake)) == 4
    assert prune(fake.client(), {images["1.0.1"].index.digest: ["1.0.1"]}) == looked
    assert len(looked.deleted) == 3
    assert sorted(tags(fake)) == ["1.0.2", ends["1.0.2"]]


def test_a_registry_that_deletes_nothing_is_reported(fake: Any, one: str) -> None:
    fake.store.deletes = False
    pruned = prune(fake.client(), {one: ["1.0.1"]})
    assert pruned.deleted == ()
    assert len(pruned.refused) == 2
    assert "405 UNSUPPORTED" in pruned.refused[one]
    assert tags(fake) == {"1.0.1": one}
