# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tree that layers make together."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer, store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.listing import (
    EntryType,
    list_layer,
    listing_path,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.tree import Tree, read_tree


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.ensure()
    return made


def add(
    archive: tarfile.TarFile,
    name: str,
    content: str | None = None,
    *,
    link: str = "",
    hard: str = "",
) -> None:
    """Add a file, a directory (a name that ends in a slash), or a link."""
    info = tarfile.TarInfo(name.rstrip("/"))
    info.mode = 0o640
    info.pax_headers = {}
    if name.endswith("/"):
        info.type = tarfile.DIRTYPE
    elif link:
        info.type, info.linkname = tarfile.SYMTYPE, link
    elif hard:
        info.type, info.linkname = tarfile.LNKTYPE, hard
    data = (content or "").encode()
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def layer(layout: Layout, *entries: tuple[str, str] | tuple[str, str, str]) -> Layer:
    """Store a layer of entries (name, content), (name, "->", target) or (name, "=", first name)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, *target in entries:
            if target and kind == "->":
                add(archive, name, link=target[0])
            elif target:
                add(archive, name, hard=target[0])
            else:
                add(archive, name, kind)
    stored = store_layer(layout, [stream.getvalue()])
    assert stored is not None
    return stored


def tree(layout: Layout, *layers: Sequence[tuple[str, str] | tuple[str, str, str]]) -> Tree:
    return read_tree(layout, [layer(layout, *entries) for entries in layers])


def names(found: Tree) -> list[str]:
    return sorted(path for path in found.entries if path)


def test_a_later_layer_wins_and_says_so(layout: Layout) -> None:
    found = tree(layout, [("etc/", ""), ("etc/a", "old"), ("etc/b", "b")], [("etc/a", "new")])
    assert found.read("etc/a") == b"new"
    assert {path: entry.layer for path, entry in found.entries.items()} == {
        "etc": 0,
        "etc/a": 1,
        "etc/b": 0,
    }
    assert found.entries["etc/a"].digest == "sha256:" + hashlib.sha256(b"new").hexdigest()
    assert (found.entries["etc/a"].size, found.entries["etc/a"].mode) == (3, 0o640)


def test_a_whiteout_takes_a_file_or_a_whole_directory_away(layout: Layout) -> None:
    found = tree(
        layout,
        [("a/", ""), ("a/x", "x"), ("a/y/", ""), ("a/y/z", "z"), ("ab", "stays")],
        [("a/.wh.y", ""), ("a/.wh.x", "")],
    )
    assert names(found) == ["a", "ab"]


def test_an_opaque_directory_keeps_only_what_its_own_layer_has(layout: Layout) -> None:
    found = tree(
        layout,
        [("a/", ""), ("a/old", "x"), ("a/deep/", ""), ("a/deep/old", "x"), ("b", "b")],
        [("a/", ""), ("a/new", "n"), ("a/.wh..wh..opq", "")],
    )
    assert names(found) == ["a", "a/new", "b"]


def test_a_whiteout_spares_what_its_own_layer_adds(layout: Layout) -> None:
    found = tree(layout, [("a", "old")], [("a", "new"), (".wh.a", "")])
    assert found.read("a") == b"new"


def test_a_file_in_the_place_of_a_directory_takes_what_was_below(layout: Layout) -> None:
    found = tree(layout, [("a/", ""), ("a/b", "b"), ("c/", ""), ("c/d", "")], [("a", "file")])
    assert names(found) == ["a", "c", "c/d"]


def test_a_directory_again_keeps_what_is_below(layout: Layout) -> None:
    assert names(tree(layout, [("a/", ""), ("a/b", "b")], [("a/", "")])) == ["a", "a/b"]


def test_hard_links_have_the_content_of_their_first_name(layout: Layout) -> None:
    found = tree(layout, [("a", "text"), ("b", "=", "a"), ("c", "=", "b")], [("d", "=", "b")])
    assert [found.read(name) for name in "abcd"] == [b"text"] * 4
    assert {found.entries[name].digest for name in "abcd"} == {found.entries["a"].digest}
    assert [found.entries[name].link for name in "abcd"] == ["", "a", "a", "a"]


def test_a_name_of_a_file_outlives_its_first_name(layout: Layout) -> None:
    found = tree(layout, [("a", "text"), ("b", "=", "a")], [(".wh.a", "")])
    assert names(found) == ["b"]
    assert found.read("b") == b"text"


def test_symbolic_links_are_followed_within_the_root(layout: Layout) -> None:
    found = tree(
        layout,
        [
            ("bin", "->", "usr/bin"),
            ("usr/", ""),
            ("usr/bin/", ""),
            ("usr/bin/sh", "->", "../../usr/bin/dash"),
            ("usr/bin/dash", "program"),
            ("absolute", "->", "/bin/sh"),
            ("above", "->", "../../../usr/bin/dash"),
            ("loop", "->", "loop"),
        ],
    )
    assert found.read("bin/sh") == found.read("absolute") == found.read("above") == b"program"
    assert found.entries["bin"].type is EntryType.SYMLINK
    assert found.resolve("loop") is None
    assert found.resolve("bin/none") is None


def test_reading_what_is_no_file_is_an_error(layout: Layout) -> None:
    found = tree(layout, [("a/", "")])
    for path in ("a", "b"):
        with pytest.raises(DriverError, match="no file of the image"):
            found.read(path)


def test_a_hard_link_to_nothing_is_an_error(layout: Layout) -> None:
    with pytest.raises(DriverError, match="/b is a hard link to /gone, which no layer has"):
        tree(layout, [("b", "=", "gone")])


def test_directories_that_a_layer_only_implies_are_there(layout: Layout) -> None:
    found = tree(layout, [("a/b/c", "text")])
    assert names(found) == ["a", "a/b", "a/b/c"]
    assert found.read("/a/./b/../b/c") == b"text"


def test_names_that_are_no_utf8_come_back_as_they_were(layout: Layout) -> None:
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    stored = layer(layout, (odd, "x"))
    first = list_layer(layout, stored)
    assert list_layer(layout, stored) == first
    assert [entry.path for entry in first] == [odd]


def test_a_layer_is_read_once_and_its_listing_kept(layout: Layout) -> None:
    stored = layer(layout, ("a/", ""), ("a/b", "text"), ("c", "->", "a"), ("d", "=", "a/b"))
    first = list_layer(layout, stored)
    layout.path(stored.descriptor.digest).unlink()
    assert list_layer(layout, stored) == first


@pytest.mark.parametrize("damage", [b"", b"no listing", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_a_damaged_listing_is_made_again(layout: Layout, damage: bytes) -> None:
    stored = layer(layout, ("a", "text"))
    first = list_layer(layout, stored)
    listing_path(layout, stored.diff_id).write_bytes(damage)
    assert list_layer(layout, stored) == first


def test_a_damaged_layer_gives_no_listing(layout: Layout) -> None:
    stored = layer(layout, ("a", "text"))
    blob = layout.path(stored.descriptor.digest)
    content = bytearray(blob.read_bytes())
    content[-6] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    with pytest.raises(DriverError):
        list_layer(layout, stored)
    assert not listing_path(layout, stored.diff_id).exists()


def test_who_watches_sees_each_file_with_its_content(layout: Layout) -> None:
    stored = layer(layout, ("a/", ""), ("a/b", "text"), ("c", "->", "a"), ("d", "more"))
    seen = {}
    list_layer(layout, stored, lambda entry, content: seen.update({entry.path: content}))
    assert seen == {"a/b": b"text", "d": b"more"}
