# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image layout: whole blobs, verified reads, atomic names."""

from __future__ import annotations

import fcntl
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import (
    INDEX,
    REF_NAME,
    Descriptor,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.digest import sha256_bytes
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

TYPE = "application/octet-stream"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "store")
    made.ensure()
    return made


def files(layout: Layout) -> set[str]:
    found = (path.relative_to(layout.root) for path in layout.root.rglob("*") if path.is_file())
    return {str(path) for path in found if "lock" not in path.name}


def test_an_empty_layout_is_what_the_specification_says(layout: Layout) -> None:
    assert files(layout) == {"oci-layout", "index.json"}
    assert json.loads((layout.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((layout.root / "index.json").read_bytes())
    assert index == {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    assert layout.tags() == {}


def test_ensure_leaves_a_layout_as_it_is(layout: Layout) -> None:
    blob = layout.put(b"x", TYPE)
    layout.tag("v1", blob)
    layout.ensure()
    assert layout.tags() == {"v1": blob}


def test_a_layout_of_another_version_is_refused(layout: Layout) -> None:
    (layout.root / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    with pytest.raises(DriverError, match="oci-layout is not of version"):
        layout.ensure()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DriverError, match="file/store"):
        Layout(tmp_path / "file" / "store").ensure()


@pytest.mark.parametrize("content", [b"", b"text", os.urandom(3_000_000)])
def test_a_blob_is_read_as_it_was_put(layout: Layout, content: bytes) -> None:
    blob = layout.put(content, TYPE)
    assert blob == Descriptor(TYPE, sha256_bytes(content), len(content))
    assert layout.read(blob) == content
    assert layout.has(blob.digest)
    assert layout.path(blob.digest).read_bytes() == content
    assert files(layout) == {"oci-layout", "index.json", f"blobs/sha256/{blob.digest[7:]}"}


def test_what_was_not_committed_is_gone(layout: Layout) -> None:
    def fail() -> None:
        with layout.writer() as writer:
            writer.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with layout.writer() as writer:
        writer.write(b"half")
    assert files(layout) == {"oci-layout", "index.json"}


def test_an_equal_blob_is_kept(layout: Layout) -> None:
    blob = layout.put(b"same", TYPE)
    before = layout.path(blob.digest).stat().st_ino
    assert layout.put(b"same", TYPE) == blob
    assert layout.path(blob.digest).stat().st_ino == before


def test_a_truncated_blob_is_mended_by_writing_it_again(layout: Layout) -> None:
    blob = layout.put(b"content", TYPE)
    layout.path(blob.digest).write_bytes(b"cont")
    layout.put(b"content", TYPE)
    assert layout.read(blob) == b"content"


def test_a_blob_of_another_size_is_refused_by_name(layout: Layout) -> None:
    blob = layout.put(b"content", TYPE)
    layout.path(blob.digest).write_bytes(b"cont")
    with pytest.raises(DriverError, match=f"{blob.digest}.*has 4 bytes instead of 7"):
        layout.open(blob)


def test_a_blob_of_another_content_is_refused_with_its_last_byte(layout: Layout) -> None:
    blob = layout.put(b"a" * 3_000_000, TYPE)
    layout.path(blob.digest).write_bytes(b"a" * 2_999_999 + b"b")
    with layout.open(blob) as stream:
        assert stream.read(1000) == b"a" * 1000
        with pytest.raises(DriverError, match=f"{blob.digest}.*is damaged"):
            stream.read()


def test_an_empty_blob_with_a_wrong_digest_is_refused(layout: Layout) -> None:
    wrong = Descriptor(TYPE, sha256_bytes(b"x"), 0)
    layout.path(wrong.digest).touch()
    with pytest.raises(DriverError, match="is damaged"):
        layout.open(wrong)


def test_a_missing_blob_is_named(layout: Layout) -> None:
    missing = Descriptor(TYPE, sha256_bytes(b"x"), 1)
    assert not layout.has(missing.digest)
    with pytest.raises(DriverError, match=f"{missing.digest} is missing"):
        layout.read(missing)


def test_a_tag_moves_and_goes(layout: Layout) -> None:
    one = layout.put(b"1", TYPE)
    two = Descriptor(TYPE, layout.put(b"2", TYPE).digest, 1, {"a": "b"})
    layout.tag("web/v1", one)
    layout.tag("latest", one)
    layout.tag("latest", two)
    assert layout.tags() == {"web/v1": one, "latest": two}
    layout.untag("web/v1")
    layout.untag("never-there")
    assert layout.tags() == {"latest": two}
    assert layout.has(one.digest)


def test_entries_and_members_of_others_stay_in_the_index(layout: Layout) -> None:
    blob = layout.put(b"1", TYPE)
    index = {"schemaVersion": 2, "manifests": [blob.as_json()], "annotations": {"their": "own"}}
    (layout.root / "index.json").write_text(json.dumps(index))
    layout.tag("v1", blob)
    after = json.loads((layout.root / "index.json").read_bytes())
    assert after["annotations"] == {"their": "own"}
    assert [m.get("annotations") for m in after["manifests"]] == [None, {REF_NAME: "v1"}]


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/", "../a", "a..b"])
def test_a_tag_outside_of_the_grammar_is_refused(layout: Layout, name: str) -> None:
    with pytest.raises(DriverError, match="cannot name an image"):
        layout.tag(name, layout.put(b"1", TYPE))


def test_tags_of_what_is_no_layout_are_an_error_not_an_absence(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="is not an OCI image layout"):
        Layout(tmp_path).tags()


def test_tags_set_at_once_are_all_there(layout: Layout) -> None:
    blob = layout.put(b"1", TYPE)
    names = [f"v{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: layout.tag(name, blob), names))
    assert layout.tags() == dict.fromkeys(names, blob)


@pytest.fixture
def left_over(layout: Layout) -> Path:
    path = layout.root / "ingest" / "dead.partial"
    path.write_bytes(b"half")
    return path


def test_the_sweep_takes_what_no_writer_holds(layout: Layout, left_over: Path) -> None:
    (layout.root / ".index.json.abc.partial").touch()
    with layout.writer() as writer:
        writer.write(b"alive")
        assert layout.sweep_partials() == 2
        blob = writer.commit(TYPE)
    assert not left_over.exists()
    assert layout.read(blob) == b"alive"
    assert layout.sweep_partials() == 0


def test_the_sweep_leaves_a_locked_file(layout: Layout, left_over: Path) -> None:
    with left_over.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert layout.sweep_partials() == 0
    assert left_over.exists()
