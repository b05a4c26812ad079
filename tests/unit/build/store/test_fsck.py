# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The look at a home, and what is mended of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.fsck import look, repair
from ansible_collections.kiln.immutable.plugins.module_utils.build.lost_blob import give_up_blob
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import LayerRecord
from ansible_collections.kiln.immutable.plugins.module_utils.core.canonical import (
    digest as digest_of,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.damage import DamagedBlob
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout


def blob_of(record: LayerRecord) -> Layer:
    """Return the layer of a record that has one."""
    assert record.layer is not None
    return record.layer


def test_an_empty_home_is_whole(made: Any) -> None:
    assert look(made.cache, {}).problems == ()
    (made.layout.root / "index.json").unlink()
    assert look(made.cache, {}).problems == ()


def test_a_home_with_a_version_is_whole(made: Any) -> None:
    image = made.version("1.0.1", made.base(), made.layer("app", "one"))
    found = look(made.cache, made.versions)
    assert found.problems == ()
    assert found.blobs == 5
    assert found.bytes == sum(made.layout.path(d).stat().st_size for d in made.layout.digests())
    assert made.whole(image.index.digest)


def test_a_damaged_layer_is_named_set_aside_and_its_records_dropped(made: Any) -> None:
    base, app, other = made.base(), made.layer("app", "one"), made.layer("other", "two")
    made.version("1.0.1", base, app)
    made.version("1.0.2", base, other)
    digest = blob_of(app).descriptor.digest
    path = made.damage(digest)
    bad = path.read_bytes()
    found = look(made.cache, made.versions)
    (problem,) = found.problems
    assert problem.sentence.startswith(f"blob {digest} is damaged: its content has the digest")
    assert problem.needed_by == (
        "bake web 1.0.1",
        f"layer app {app.key[7:19]}",
        "tag web-1.0.1",
        "version web 1.0.1",
    )
    assert found.incomplete == ("web 1.0.1",)
    assert path.exists()
    repair(made.cache, found)
    assert not path.exists()
    assert (made.layout.root / "quarantine" / path.name).read_bytes() == bad
    assert made.cache.layer(app.key) is None
    assert made.cache.bake(digest_of("1.0.1")) is None
    assert made.cache.layer(other.key) == other
    assert made.cache.bake(digest_of("1.0.2")) is not None
    assert set(made.layout.tags()) == {"web-1.0.1", "web-1.0.2"}
    # Made again, with the same bytes, the version is whole again.
    made.layer("app", "one")
    made.version("1.0.1", base, app)
    assert look(made.cache, made.versions).problems == ()


def test_a_missing_layer_is_named_and_its_records_dropped(made: Any) -> None:
    app = made.layer("app", "one")
    made.version("1.0.1", made.base(), app)
    made.layout.path(blob_of(app).descriptor.digest).unlink()
    found = look(made.cache, made.versions)
    assert [problem.sentence.split(" Needed")[0] for problem in found.problems] == [
        f"blob {blob_of(app).descriptor.digest} is missing."
    ]
    repair(made.cache, found)
    assert not made.cache.record_path("layers", app.key).exists()
    assert made.cache.bake(digest_of("1.0.1")) is None
    again = look(made.cache, made.versions)
    # The version is in need of it still, which is said until it is there.
    assert again.incomplete == ("web 1.0.1",)
    assert again.records == ()


@pytest.mark.parametrize("part", ["index", "manifest"])
@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_a_lost_document_is_named(made: Any, part: str, how: str) -> None:
    image = made.version("1.0.1", made.base(), made.layer("app", "one"))
    digest = getattr(image, part).digest
    if how == "missing":
        made.layout.path(digest).unlink()
    else:
        made.damage(digest)
    found = look(made.cache, made.versions)
    assert [problem.subject for problem in found.problems] == [digest]
    assert found.incomplete == ("web 1.0.1",)
    repair(made.cache, found)
    assert not made.layout.has(digest)
    assert set(made.layout.tags()) == (set() if part == "index" else {"web-1.0.1"})
    assert made.cache.bake(digest_of("1.0.1")) is None


def test_a_blob_that_nothing_needs_is_verified_too(made: Any) -> None:
    blob = made.layout.put(b"lonely", "text/plain")
    made.damage(blob.digest)
    found = look(made.cache, {})
    assert (found.problems[0].subject, found.problems[0].needed_by) == (blob.digest, ())
    repair(made.cache, found)
    assert look(made.cache, {}).problems == ()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": "sha256:00"}'])
def test_a_record_that_cannot_be_read_is_dropped(made: Any, content: str) -> None:
    app = made.layer("app", "one")
    path = made.cache.record_path("layers", app.key)
    path.write_text(content)
    found = look(made.cache, {})
    assert [problem.kind for problem in found.problems] == ["record"]
    repair(made.cache, found)
    assert not path.exists()
    assert look(made.cache, {}).problems == ()


@pytest.mark.parametrize("content", ["{", "[]", '{"base": "x"}', "7"])
def test_a_note_of_a_lock_that_cannot_be_read_is_dropped(made: Any, content: str) -> None:
    note = made.cache.root / "locks" / "abc.json"
    note.parent.mkdir(parents=True)
    note.write_text('{"base": "sha256:1", "layers": "sha256:2"}')
    assert look(made.cache, made.versions).problems == ()
    note.write_text(content)
    findings = look(made.cache, made.versions)
    assert [problem.subject for problem in findings.problems] == ["locks abc"]
    repair(made.cache, findings)
    assert not note.exists()


def test_a_record_that_names_another_key_is_dropped(made: Any) -> None:
    one, other = made.layer("app", "one"), made.layer("app", "two")
    path = made.cache.record_path("layers", one.key)
    path.write_bytes(made.cache.record_path("layers", other.key).read_bytes())
    found = look(made.cache, {})
    assert f"it names another key, {other.key}" in found.problems[0].sentence
    assert found.records == (path,)


def test_a_record_with_another_size_is_dropped_and_the_good_blob_stays(made: Any) -> None:
    app = made.layer("app", "one")
    path = made.cache.record_path("layers", app.key)
    size = blob_of(app).descriptor.size
    path.write_text(path.read_text().replace(f'"size":{size}', '"size":7', 1))
    found = look(made.cache, {})
    assert "instead of 7" in found.problems[0].sentence
    repair(made.cache, found)
    assert made.layout.has(blob_of(app).descriptor.digest)
    assert not path.exists()


def test_a_repair_that_was_interrupted_is_ended_by_the_next(made: Any) -> None:
    base, app = made.base(), made.layer("app", "one")
    made.version("1.0.1", base, app)
    made.damage(blob_of(app).descriptor.digest)
    found = look(made.cache, made.versions)
    for step in range(len(found.records)):
        left = iter(range(step))

        def remove(path: Path, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise InterruptedError
            path.unlink()

        with pytest.raises(InterruptedError):
            repair(made.cache, look(made.cache, made.versions), remove=remove)
        assert blob_of(app).descriptor.digest in look(made.cache, made.versions).damaged
        made.layer("app", "one")
    repair(made.cache, look(made.cache, made.versions))
    assert look(made.cache, made.versions).damaged == ()
    assert made.cache.bake(digest_of("1.0.1")) is None
    assert made.cache.layer(app.key) is None
    assert made.cache.base(base.key) == base


def test_a_second_look_reads_only_the_suspects(made: Any) -> None:
    one, other = made.layer("app", "one"), made.layer("app", "two")
    made.damage(blob_of(one).descriptor.digest)
    made.damage(blob_of(other).descriptor.digest)
    found = look(made.cache, {}, suspects=[blob_of(one).descriptor.digest])
    assert found.damaged == (blob_of(one).descriptor.digest,)


def test_a_good_blob_is_never_set_aside(made: Any) -> None:
    blob = made.layout.put(b"good", "text/plain")
    assert made.layout.set_aside(blob.digest) is None
    assert made.layout.read(blob) == b"good"
    assert made.layout.set_aside("sha256:" + "0" * 64) is None


def test_a_bake_that_meets_damage_gives_the_blob_up(made: Any) -> None:
    base, app, other = made.base(), made.layer("app", "one"), made.layer("other", "two")
    made.version("1.0.1", base, app)
    made.version("1.0.2", base, other)
    descriptor = blob_of(app).descriptor
    made.damage(descriptor.digest)
    with pytest.raises(DamagedBlob) as caught:
        made.layout.read(descriptor)
    said = str(give_up_blob(made.cache, caught.value))
    assert descriptor.digest in said
    assert f"It is part of: layer app {app.key[7:19]}, bake web 1.0.1." in said
    assert f"moved to {made.layout.quarantine}/" in said
    assert "Run the bake again: it makes it anew." in said
    assert made.cache.layer(app.key) is None
    assert made.cache.layer(other.key) == other
    assert not made.layout.has(descriptor.digest)


def test_what_another_bake_put_in_its_place_stays(made: Any) -> None:
    app = made.layer("app", "one")
    descriptor = blob_of(app).descriptor
    path = made.damage(descriptor.digest)
    with pytest.raises(DamagedBlob) as caught:
        made.layout.read(descriptor)
    path.unlink()
    made.layer("app", "one")
    give_up_blob(made.cache, caught.value)
    assert made.cache.layer(app.key) == app
    assert made.layout.has(descriptor.digest)


def test_damage_in_a_layout_of_the_users_is_left_to_the_user(made: Any, tmp_path: Path) -> None:
    foreign = Layout(tmp_path / "foreign")
    foreign.ensure()
    blob = foreign.put(b"theirs", "text/plain")
    path = foreign.path(blob.digest)
    path.write_bytes(b"broken")
    with pytest.raises(DamagedBlob) as caught:
        foreign.read(blob)
    assert give_up_blob(made.cache, caught.value) is caught.value
    assert path.exists()
