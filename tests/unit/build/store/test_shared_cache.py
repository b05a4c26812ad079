# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cache shared with other machines: what is taken from it, and what of it is not believed."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.registry_cache import (
    RegistryCache,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.remote_cache import (
    DirectoryCache,
    remote_cache,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.shared_cache import (
    SharedCache,
    push,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.damage import LostBlob


@pytest.fixture
def remote(tmp_path: Path) -> DirectoryCache:
    return DirectoryCache(tmp_path / "remote")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def there(made: Any, another_home: Callable[[], Any]) -> Any:
    """Return the home of another machine."""
    return another_home()


@pytest.fixture
def here(made: Any, remote: DirectoryCache, said: list[str]) -> SharedCache:
    return SharedCache(made.home, made.cache, [remote], said.append)


def blob_path(remote: DirectoryCache, record: Any) -> Path:
    digest: str = record.layer.descriptor.digest
    return remote.root / "blobs/sha256" / digest.removeprefix("sha256:")


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_what_one_machine_pushed_another_takes_over(
    there: Any, made: Any, remote: DirectoryCache, here: SharedCache, said: list[str]
) -> None:
    base, app = there.base(), there.layer("app", "one")
    assert push(remote, there.cache, base, replace=False)
    assert push(remote, there.cache, app, replace=False)
    assert here.base(base.key) == base
    assert here.layer(app.key) == app
    # A plan only looks.
    assert made.layout.digests() == []
    assert made.cache.layer(app.key) is None
    assert here.fetch_base(base.key) == base
    assert here.fetch_layer(app.key) == app
    assert here.fetched == [base.key, app.key]
    assert made.cache.layer(app.key) == app
    assert made.layout.read(app.layer.descriptor) == there.layout.read(app.layer.descriptor)
    assert said == []
    # It is this home's from now on.
    assert here.fetch_layer(app.key) == app
    assert here.fetched == [base.key, app.key]


def test_a_base_taken_over_was_not_made_now_and_is_of_use(
    there: Any, made: Any, remote: DirectoryCache, here: SharedCache
) -> None:
    base = there.base()
    push(remote, there.cache, base, replace=False)
    here.fetch_base(base.key)
    assert made.cache.record_path("bases", base.key).stat().st_mtime == 0
    assert made.cache.use_path("bases", base.key).stat().st_mtime > 0


def test_a_layer_that_changed_nothing_has_no_blob(
    there: Any, remote: DirectoryCache, here: SharedCache
) -> None:
    record = there.layer("checks", "")
    assert record.layer is None
    push(remote, there.cache, record, replace=False)
    assert here.fetch_layer(record.key) == record


def test_what_no_cache_has_is_absent(here: SharedCache, said: list[str]) -> None:
    assert here.fetch_layer("sha256:" + "0" * 64) is None
    assert here.base("sha256:" + "0" * 64) is None
    assert said == []


def test_a_second_push_writes_nothing(there: Any, remote: DirectoryCache) -> None:
    app = there.layer("app", "one")
    push(remote, there.cache, app, replace=False)
    before = files(remote.root)
    assert not push(remote, there.cache, app, replace=False)
    assert files(remote.root) == before
    assert not [name for name in before if name.endswith(".partial")]


def lie_bytes(remote: DirectoryCache, record: Any) -> None:
    path = blob_path(remote, record)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def lie_size(remote: DirectoryCache, record: Any) -> None:
    path = remote.root / "layers" / (record.key.removeprefix("sha256:") + ".json")
    document = json.loads(path.read_bytes())
    document["layer"]["size"] += 1
    path.write_text(json.dumps(document))


def lie_diff_id(remote: DirectoryCache, record: Any) -> None:
    path = remote.root / "layers" / (record.key.removeprefix("sha256:") + ".json")
    document = json.loads(path.read_bytes())
    document["layer"]["diffID"] = "sha256:" + "7" * 64
    path.write_text(json.dumps(document))


def lie_no_gzip(remote: DirectoryCache, record: Any) -> None:
    content = b"this is no layer"
    digest = hashlib.sha256(content).hexdigest()
    (remote.root / "blobs/sha256" / digest).write_bytes(content)
    path = remote.root / "layers" / (record.key.removeprefix("sha256:") + ".json")
    document = json.loads(path.read_bytes())
    document["layer"]["descriptor"].update(digest=f"sha256:{digest}", size=len(content))
    path.write_text(json.dumps(document))


def lie_cut_gzip(remote: DirectoryCache, record: Any) -> None:
    content = gzip.compress(b"one" * 100)[:-9]
    digest = hashlib.sha256(content).hexdigest()
    (remote.root / "blobs/sha256" / digest).write_bytes(content)
    path = remote.root / "layers" / (record.key.removeprefix("sha256:") + ".json")
    document = json.loads(path.read_bytes())
    document["layer"]["descriptor"].update(digest=f"sha256:{digest}", size=len(content))
    path.write_text(json.dumps(document))


def lie_key(remote: DirectoryCache, record: Any) -> None:
    path = remote.root / "layers" / (record.key.removeprefix("sha256:") + ".json")
    document = json.loads(path.read_bytes())
    document["key"] = "sha256:" + "5" * 64
    path.write_text(json.dumps(document))


def lie_no_record(remote: DirectoryCache, record: Any) -> None:
    path = remote.root / "layers" / (record.key.removeprefix("sha256:") + ".json")
    path.write_text('{"key": 3')


def lie_path(remote: DirectoryCache, record: Any) -> None:
    path = remote.root / "layers" / (record.key.removeprefix("sha256:") + ".json")
    document = json.loads(path.read_bytes())
    document["layer"]["descriptor"]["digest"] = "sha256:../../../../etc/passwd"
    path.write_text(json.dumps(document))


LIES = [
    (lie_bytes, "is damaged: its content has the digest"),
    (lie_size, "does not unpack to"),
    (lie_diff_id, "does not unpack to"),
    (lie_no_gzip, "does not unpack to"),
    (lie_cut_gzip, "does not unpack to"),
    (lie_key, "names another"),
    (lie_no_record, "cannot be read"),
    (lie_path, "is not a digest"),
]


@pytest.mark.parametrize(("lie", "words"), LIES, ids=lambda value: getattr(value, "__name__", None))
def test_a_cache_that_lies_is_named_and_ignored(
    lie: Callable[[DirectoryCache, Any], None],
    words: str,
    there: Any,
    made: Any,
    remote: DirectoryCache,
    here: SharedCache,
    said: list[str],
) -> None:
    app = there.layer("app", "one")
    push(remote, there.cache, app, replace=False)
    lie(remote, app)
    assert here.fetch_layer(app.key) is None
    (sentence,) = said
    assert sentence.startswith(f"The shared cache {remote.root} is not used for a layer: ")
    assert words in sentence
    assert made.cache.layer(app.key) is None
    assert not made.cache.record_path("layers", app.key).exists()
    assert here.fetched == []
    # The machine that made the layer itself then, puts it right for the others.
    push(remote, there.cache, app, replace=True)
    said.clear()
    assert here.fetch_layer(app.key) == app
    assert said == []


def test_a_record_whose_blob_is_not_there_is_absent(
    there: Any, remote: DirectoryCache, here: SharedCache, said: list[str]
) -> None:
    app = there.layer("app", "one")
    push(remote, there.cache, app, replace=False)
    blob_path(remote, app).unlink()
    assert here.layer(app.key) is None
    assert here.fetch_layer(app.key) is None
    assert said == []
    assert push(remote, there.cache, app, replace=False)
    assert here.fetch_layer(app.key) == app


def test_a_damaged_blob_is_not_pushed(there: Any, remote: DirectoryCache) -> None:
    app = there.layer("app", "one")
    there.damage(app.layer.descriptor.digest)
    with pytest.raises(LostBlob):
        push(remote, there.cache, app, replace=False)
    assert files(remote.root) == set()


def test_the_next_cache_is_asked_when_one_lies(
    there: Any, made: Any, remote: DirectoryCache, said: list[str], tmp_path: Path
) -> None:
    app = there.layer("app", "one")
    other = DirectoryCache(tmp_path / "other")
    for cache in (remote, other):
        push(cache, there.cache, app, replace=False)
    lie_bytes(remote, app)
    here = SharedCache(made.home, made.cache, [remote, other], said.append)
    assert here.fetch_layer(app.key) == app
    assert len(said) == 1


def test_a_cache_that_cannot_be_read_is_named_and_ignored(
    there: Any, remote: DirectoryCache, here: SharedCache, said: list[str]
) -> None:
    app = there.layer("app", "one")
    record = remote.root / "layers" / (app.key.removeprefix("sha256:") + ".json")
    record.mkdir(parents=True)
    assert here.fetch_layer(app.key) is None
    assert "Is a directory" in said[0]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("", "cannot be a shared cache"),
        ("s3://cache.example.org/", "cannot be a shared cache"),
        ("oci://registry.example.org", "is a registry without a repository"),
        ("registry.example.org/Cache", "cannot be a repository"),
        ("http://registry.example.org/cache", "is not under TLS"),
    ],
)
def test_what_can_be_no_cache_is_refused(place: str, words: str) -> None:
    with pytest.raises(DriverError, match=words):
        remote_cache(place)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("registry.example.org/team/cache", "registry.example.org/team/cache"),
        ("oci://registry.example.org/cache", "registry.example.org/cache"),
        ("localhost:5000/cache", "localhost:5000/cache"),
        ("https://registry.example.org:8443/cache", "registry.example.org:8443/cache"),
    ],
)
def test_a_repository_of_a_registry_is_told_by_its_host(place: str, name: str) -> None:
    cache = remote_cache(place)
    assert isinstance(cache, RegistryCache)
    assert cache.name == name


def test_a_directory_with_a_dot_is_told_by_the_one_before_it() -> None:
    assert remote_cache("./ci.cache/kiln").name == str(Path.cwd() / "ci.cache/kiln")


def test_a_directory_is_named_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert remote_cache("~/cache").name == str(tmp_path / "cache")
