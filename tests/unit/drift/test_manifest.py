# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.drift.manifest import (
    Entry,
    Manifest,
    decode,
    describe,
    manifest_of,
    pack,
    unpack,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.listing import EntryType
from ansible_collections.kiln.immutable.plugins.module_utils.oci.tree import Tree, TreeEntry
from hypothesis import given
from hypothesis import strategies as st

DIGEST = "sha256:" + "1" * 64
# Names of files are bytes: what is no UTF-8 is a surrogate escape.
names = st.binary(max_size=8).map(lambda name: name.decode("utf-8", "surrogateescape"))
entries = st.builds(
    Entry,
    path=names,
    type=st.sampled_from(["file", "directory"]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 1 << 31),
    gid=st.integers(0, 1 << 31),
    size=st.integers(0, 1 << 40),
    digest=st.one_of(st.none(), st.just(DIGEST)),
    link=names,
    device=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    xattrs=st.lists(st.tuples(st.just("user.a"), st.text("a\xff", max_size=3)), max_size=1).map(
        tuple
    ),
)


@given(st.lists(entries, max_size=5), st.dictionaries(st.just("libc6:amd64"), st.just("2")))
def test_what_was_written_is_read_again(found: list[Entry], packages: dict[str, str]) -> None:
    manifest = Manifest({one.path: one for one in found}, packages)
    content = manifest.encode()
    assert decode(content) == manifest
    about = describe(content, manifest)
    assert unpack(pack(content), about["digest"]) == manifest


@given(st.lists(entries, max_size=5, unique_by=lambda one: one.path))
def test_the_order_of_finding_does_not_matter(found: list[Entry]) -> None:
    one = Manifest({entry.path: entry for entry in found}, {})
    other = Manifest({entry.path: entry for entry in reversed(found)}, {})
    assert pack(one.encode()) == pack(other.encode())


def tree_entry(path: str, kind: EntryType, **more: Any) -> TreeEntry:
    """Return a name of a root, of the first layer."""
    plain = TreeEntry(path, kind, 0o644, 0, 0, 9, 4, None, "", (0, 0), (), 0)
    return plain._replace(**more)


def test_a_tree_becomes_what_a_container_can_be_compared_with(tmp_path: Path) -> None:
    tree = Tree(
        Layout(tmp_path),
        (),
        {
            "a": tree_entry("a", EntryType.FILE, digest=DIGEST),
            "b": tree_entry("b", EntryType.FILE, digest=DIGEST, link="a"),
            "c": tree_entry("c", EntryType.SYMLINK, link="a", mode=0o755),
        },
    )
    status = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2\n"
    manifest = manifest_of(tree, status)
    assert manifest.packages == {"libc6:amd64": "2"}
    # Names of one file become files of their own when one of them is written to.
    assert manifest.entries["b"] == manifest.entries["a"]._replace(path="b")
    assert manifest.entries["c"].mode == 0o777
    assert manifest.entries["c"].link == "a"


def test_a_manifest_that_its_statement_does_not_name_is_refused() -> None:
    content = Manifest({}, {}).encode()
    with pytest.raises(DriverError, match="not the one"):
        unpack(pack(content), DIGEST)
    with pytest.raises(DriverError, match="damaged"):
        unpack(content, DIGEST)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"form":1}', b'{"form":9}'])
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(DriverError):
        decode(content)
