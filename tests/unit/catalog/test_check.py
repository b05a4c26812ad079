# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a catalog that is not whole."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.changes import (
    Promotion,
    promote,
)
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.check import check_catalog
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.transaction import Change


@pytest.fixture
def catalog(shelf: Any) -> Catalog:
    """A catalog with a version that is built on another, and a channel."""
    made: Catalog = shelf.catalog()
    shelf.record(made, 1)
    shelf.record(made, 2)
    shelf.record(made, 3, image="shop", parent="web", parent_version="1.0.1")
    promote(made, Promotion("web", "why", "1.0.2", "dev"))
    return made


def write(catalog: Catalog, path: str, content: str | None) -> None:
    made = None if content is None else content.encode()
    catalog.change(lambda: Change({path: made}, "a change"))


def test_a_whole_catalog_has_no_fault(catalog: Catalog) -> None:
    assert check_catalog(catalog) == []


def test_a_home_without_a_catalog_has_none_to_find_fault_with(shelf: Any) -> None:
    assert check_catalog(shelf.catalog("none")) == []


@pytest.mark.parametrize(
    ("path", "content", "wrong"),
    [
        ("images/web/versions/1.0.2.yml", None, "dev of web points to 1.0.2, which is gone"),
        ("images/web/versions/1.0.1.yml", None, "shop 1.0.1 is built on web 1.0.1, which is gone"),
        ("images/web/versions/notes.yml", "a: b\n", "notes.yml: 'notes' is no version number"),
        ("images/web/versions/1.0.9.yml", "[]\n", "1.0.9.yml holds no mapping"),
        ("images/web/channels.yml", "dev: 1.0.1\n", "is no file of channels"),
        ("channels.yml", "channels: 3\n", "has no list of channels"),
        (
            "images/web/revoked.yml",
            "revoked: {1.0.7: {at: now, reason: a, by: b, decided: c}}\n",
            "web 1.0.7 is revoked, and there never was one",
        ),
        (
            "images/web/pruned.yml",
            "pruned: {1.0.2: {index: a, at: b, by: c, why: d}}\n",
            "web 1.0.2 is there, and pruned too",
        ),
        (
            "groups/blue.yml",
            "{name: blue, image: web, running: [1.0.8]}\n",
            "group blue runs web 1.0.8, which is gone",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    catalog: Catalog, path: str, content: str | None, wrong: str
) -> None:
    write(catalog, path, content)
    (sentence,) = check_catalog(catalog)
    assert wrong in sentence


def test_records_that_say_the_same_or_another_are_named(catalog: Catalog) -> None:
    text = (catalog.root / "images/web/versions/1.0.1.yml").read_text()
    write(catalog, "images/web/versions/1.0.3.yml", text)
    found = check_catalog(catalog)
    assert any("1.0.3.yml speaks of web 1.0.1" in one for one in found)
    assert "web 1.0.3 and 1.0.1 are the same bytes." in found


def test_what_is_not_committed_and_what_git_lost_is_named(catalog: Catalog) -> None:
    (catalog.root / "images/web/channels.yml").unlink()
    assert check_catalog(catalog) == ["images/web/channels.yml is not as it was committed."]
    needed = catalog.git.run("rev-list", "--objects", "HEAD").text.splitlines()
    assert needed
    for name in (line.split()[0] for line in needed):
        path = catalog.root / ".git" / "objects" / name[:2] / name[2:]
        lost = path.rename(path.with_suffix(".lost"))
        assert any(one.startswith("Git finds fault with") for one in check_catalog(catalog))
        lost.rename(path)
