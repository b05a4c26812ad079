# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry as the cache that machines share, and what of it is not believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import (
    Cache,
    LayerRecord,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.registry_cache import (
    RegistryCache,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.shared_cache import (
    SharedCache,
    push,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

KEY = "sha256:" + "4" * 64


def cache_in(folder: Any) -> Cache:
    home = Home.at(str(folder), {})
    layout = Layout(home.store)
    layout.ensure()
    return Cache(home.cache, layout)


@pytest.fixture
def there(tmp_path: Any) -> Cache:
    """Return the cache of another machine."""
    return cache_in(tmp_path / "there")


@pytest.fixture
def record(there: Cache) -> LayerRecord:
    """Return a layer that the other machine made."""
    made = LayerRecord(KEY, "app", store_layer(there.layout, [b"layer" * 1000]), 1.0, {"a": "b"})
    there.keep_layer(made)
    return made


@pytest.fixture
def remote(fake: Any) -> RegistryCache:
    return RegistryCache(fake.client("ci/cache", attempts=2))


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def here(tmp_path: Any, remote: RegistryCache, said: list[str]) -> SharedCache:
    local = cache_in(tmp_path / "here")
    return SharedCache(Home.at(str(tmp_path / "here"), {}), local, [remote], said.append)


def test_what_one_machine_pushed_another_takes_over(
    there: Cache, record: LayerRecord, remote: RegistryCache, here: SharedCache, said: list[str]
) -> None:
    assert here.layer(KEY) is None
    assert push(remote, there, record, replace=False)
    assert not push(remote, there, record, replace=False)
    assert here.layer(KEY) == record
    assert here.fetch_layer(KEY) == record
    assert record.layer is not None
    assert here.local.layout.has(record.layer.descriptor.digest)
    assert said == []


def test_a_layer_that_changed_nothing_has_no_blob(
    there: Cache, remote: RegistryCache, here: SharedCache
) -> None:
    record = LayerRecord(KEY, "checks", None, 1.0, {})
    there.keep_layer(record)
    push(remote, there, record, replace=False)
    assert here.fetch_layer(KEY) == record


def test_the_tag_of_a_record_keeps_its_blobs_from_the_registrys_collection(
    fake: Any, there: Cache, record: LayerRecord, remote: RegistryCache
) -> None:
    push(remote, there, record, replace=False)
    digest = fake.store.tags["ci/cache", "layers-" + "4" * 64]
    manifest = json.loads(fake.store.manifests["ci/cache", digest][1])
    assert record.layer is not None
    assert [one["digest"] for one in manifest["layers"]] == [record.layer.descriptor.digest]


def test_wrong_bytes_for_a_digest_are_named_and_ignored(
    fake: Any,
    there: Cache,
    record: LayerRecord,
    remote: RegistryCache,
    here: SharedCache,
    said: list[str],
) -> None:
    push(remote, there, record, replace=False)
    assert record.layer is not None
    key = ("ci/cache", record.layer.descriptor.digest)
    fake.store.blobs[key] = fake.store.blobs[key][:-1] + b"?"
    assert here.fetch_layer(KEY) is None
    (sentence,) = said
    assert "The shared cache" in sentence
    assert f"Blob {record.layer.descriptor.digest}" in sentence
    assert "is not what it says" in sentence
    assert not here.local.layout.has(record.layer.descriptor.digest)
    assert here.local.layer(KEY) is None


def test_a_tag_that_is_no_record_is_named_and_ignored(
    fake: Any, remote: RegistryCache, here: SharedCache, said: list[str]
) -> None:
    content = b'{"config": {"mediaType": "x", "digest": "sha256:%s", "size": 2}}' % (b"0" * 64)
    fake.store.manifests["ci/cache", "sha256:" + "9" * 64] = ("x", content)
    fake.store.tags["ci/cache", "layers-" + "4" * 64] = "sha256:" + "9" * 64
    assert here.layer(KEY) is None
    assert "is no record of a cache" in said[0]


def test_a_registry_that_does_not_answer_is_named_and_ignored(
    fake: Any, remote: RegistryCache, here: SharedCache, said: list[str]
) -> None:
    fake.store.faults.append(lambda handler: handler.refuse(503, "UNAVAILABLE") or True)
    assert here.fetch_layer(KEY) is None
    assert "It was tried 2 times" in said[0]
