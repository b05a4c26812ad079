# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root of a disk as a tar: what the layers make together, always in the same order."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.root_merge import merge
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.root_tar import (
    Kept,
    merging,
    root_bytes,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer, store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.tree import Tree, read_tree


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "store")
    layout.ensure()
    return layout


def layer(layout: Layout, members: Sequence[tarfile.TarInfo | tuple[str, bytes]]) -> Layer:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size, info.mtime, info.mode = len(member[1]), 7, 0o640
            archive.addfile(info, io.BytesIO(member[1]))
    stored = store_layer(layout, [buffer.getvalue()])
    assert stored is not None
    return stored


def entry(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o755
    return info


@pytest.fixture
def tree(layout: Layout) -> Tree:
    below = layer(
        layout,
        [
            entry("etc", tarfile.DIRTYPE),
            ("etc/a", b"old"),
            ("etc/gone", b"gone"),
            ("etc/kept", b"k" * 700),
            entry("etc/twin", tarfile.LNKTYPE, "etc/kept"),
            entry("lib", tarfile.SYMTYPE, "usr/lib"),
        ],
    )
    above = layer(layout, [("etc/a", b"new"), ("etc/.wh.gone", b""), ("boot/vmlinuz-1", b"kernel")])
    return read_tree(layout, [below, above])


def read(tree: Tree, leaves_out: frozenset[str] = frozenset(), kept: Kept | None = None) -> bytes:
    given = merging(tree, leaves_out=leaves_out.__contains__, kept=kept or Kept())
    made = io.BytesIO()
    merge(io.BytesIO(b"".join(given)), made.write)
    return made.getvalue()


def names(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {info.name: info for info in archive}


def test_the_tar_holds_what_the_layers_make_together(tree: Tree) -> None:
    with tarfile.open(fileobj=io.BytesIO(read(tree))) as archive:
        assert {info.name for info in archive} == {
            *("boot", "boot/vmlinuz-1", "etc", "etc/a", "etc/kept", "etc/twin", "lib"),
        }
        first = archive.extractfile("etc/a")
        twin = archive.extractfile("etc/twin")
        assert first is not None
        assert first.read() == b"new"
        assert twin is not None
        assert twin.read() == b"k" * 700


def test_modes_times_and_links_are_those_of_the_layers(tree: Tree) -> None:
    found = names(read(tree))

    assert (found["etc/a"].mode, found["etc/a"].mtime) == (0o640, 7)
    assert found["lib"].linkname == "usr/lib"
    assert found["etc/twin"].type == tarfile.LNKTYPE
    assert found["etc/twin"].linkname == "etc/kept"


def test_what_is_left_out_can_be_kept_aside(tree: Tree, tmp_path: Path) -> None:
    kept = Kept({"boot/vmlinuz-1": str(tmp_path / "linux")})
    content = read(tree, frozenset({"boot/vmlinuz-1"}), kept)

    assert "boot/vmlinuz-1" not in names(content)
    assert (tmp_path / "linux").read_bytes() == b"kernel"


def test_what_is_rewritten_is_so_in_the_tar_and_aside(tree: Tree, tmp_path: Path) -> None:
    kept = Kept({"etc/kept": str(tmp_path / "it")}, {"etc/kept": b"k\nnew\n"})
    content = read(tree, kept=kept)

    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for name in ("etc/kept", "etc/twin"):
            stream = archive.extractfile(name)
            assert stream is not None
            assert stream.read() == b"k\nnew\n"
        assert set(names(content)) == set(names(read(tree)))
    assert (tmp_path / "it").read_bytes() == b"k\nnew\n"


def test_the_same_layers_give_the_same_bytes(tree: Tree) -> None:
    assert read(tree) == read(
        Tree(tree.layout, tree.layers, dict(sorted(tree.entries.items(), reverse=True)))
    )


def test_capabilities_go_along(layout: Layout) -> None:
    ping = tarfile.TarInfo("ping")
    ping.pax_headers = {"SCHILY.xattr.security.capability": "\x01\x00\x00\x02"}
    tree = read_tree(layout, [layer(layout, [ping])])

    found = names(read(tree))["ping"].pax_headers

    assert found == {"SCHILY.xattr.security.capability": "\x01\x00\x00\x02"}


def test_a_file_counts_once_however_many_names_it_has(tree: Tree) -> None:
    size, count = root_bytes(tree, lambda path: path == "boot/vmlinuz-1")

    # The names boot, etc and lib, and the two files.
    assert size == 5 * 4096
    assert count == 6
