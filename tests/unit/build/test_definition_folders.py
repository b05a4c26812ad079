# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of definitions, and the order that images bake in."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import (
    load_all,
    order,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

ROOT = "base: {debootstrap: {suite: bookworm}}\n"


def fill(folder: Path, **definitions: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in definitions.items():
        (folder / f"{name}.yml").write_text(text)
    return folder


def test_a_folder_gives_its_definitions_and_nothing_else(tmp_path: Path) -> None:
    images = fill(tmp_path / "images", web=ROOT, db=ROOT)
    (images / "cache.yaml").write_text(ROOT)
    (images / "web.lock.yml").write_text("not: a definition\n")
    (images / "kiln.images.yml").write_text("plugin: kiln.immutable.images\n")
    (images / ".web.yml").write_text("of an editor")
    (images / "README.md").write_text("text")
    fill(images / "roles.yml", main="- a task\n")

    assert [one.name for one in load_all(images)] == ["cache", "db", "web"]


def test_files_and_folders_may_be_mixed_and_a_file_named_twice_is_read_once(
    tmp_path: Path,
) -> None:
    images = fill(tmp_path / "images", web=ROOT, db=ROOT)
    other = fill(tmp_path / "other", cache=ROOT)

    found = load_all([images / "web.yml", str(images), other])

    assert [one.name for one in found] == ["web", "db", "cache"]


def test_errors_of_several_files_come_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "images", a="name: a\n", b="", c=ROOT)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DriverError) as caught:
        load_all("images/")

    assert str(caught.value) == (
        "images/a.yml:1: base is missing; it must hold one of debootstrap, registry, archive or "
        "image.\n"
        "images/b.yml:1: the file is empty; an image definition needs at least base."
    )


def test_two_definitions_of_one_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "images", a=ROOT + "name: web\n", web=ROOT)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DriverError) as caught:
        load_all("images")

    assert str(caught.value) == (
        "images/web.yml:1: name is web, as in images/a.yml:2; each image needs a name of its own."
    )


def test_a_missing_file_suggests_a_near_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "images", web=ROOT)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DriverError) as caught:
        load_all("images/wbe.yml")

    assert str(caught.value) == (
        "images/wbe.yml: there is no such file or folder; did you mean images/web.yml?"
    )


def test_a_folder_without_definitions_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "images")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DriverError) as caught:
        load_all("images")

    assert str(caught.value) == (
        "images: the folder holds no image definition; put one there, such as web.yml."
    )


def test_an_image_comes_after_its_base(tmp_path: Path) -> None:
    images = fill(
        tmp_path / "images",
        app="base: {image: web}\n",
        db="base: {image: root}\n",
        root=ROOT,
        tool=ROOT,
        web="base: {image: root}\n",
    )

    levels = order(load_all(images))

    assert [[one.name for one in level] for level in levels] == [
        ["root", "tool"],
        ["db", "web"],
        ["app"],
    ]


def test_nothing_has_no_levels() -> None:
    assert order(()) == ()


def test_an_unknown_base_suggests_a_near_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "images", root=ROOT, web="base:\n  image: rooot\n", x="base: {image: other}\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DriverError) as caught:
        order(load_all("images"))

    assert str(caught.value) == (
        "images/web.yml:2: base.image is rooot, and no definition has that name; "
        "did you mean root?\n"
        "images/x.yml:1: base.image is other, and no definition has that name; "
        "the images are root, web, x."
    )


def test_a_circle_of_bases_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(
        tmp_path / "images",
        a="base: {image: b}\n",
        b="base: {image: c}\n",
        c="name: c\nbase: {image: b}\n",
        root=ROOT,
    )
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DriverError) as caught:
        order(load_all("images"))

    assert str(caught.value) == (
        "images/b.yml:1: base.image makes a circle, b -> c -> b; one of these images needs "
        "another kind of base."
    )


def test_an_image_that_is_its_own_base_is_a_circle(tmp_path: Path) -> None:
    images = fill(tmp_path / "images", a="base: {image: a}\n")

    with pytest.raises(DriverError, match=r"a circle, a -> a;"):
        order(load_all(images))
