# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A push, a pull and a prune killed at any step leave what is whole, and can be done again."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.fsck import look
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import Cache
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.changes import (
    Promotion,
    promote,
)
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.check import check_catalog
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.oci import predicates
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import Image
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.family import family
from ansible_collections.kiln.immutable.plugins.module_utils.oci.statement import Statement
from ansible_collections.kiln.immutable.plugins.module_utils.trust.notary import keep_statements
from ansible_collections.kiln.immutable.tests.integration.registry.dying import EACH

PROGRAM = "ansible_collections.kiln.immutable.tests.integration.registry.dying"


class Kills:
    """What was left each time."""

    def __init__(self, folder: Path, registry: Any, versions: list[Image]) -> None:
        self.folder, self.registry, self.versions = folder, registry, versions
        self.name = f"kills-{uuid.uuid4().hex[:8]}"

    def run(self, what: str, *more: str) -> str:
        place = f"{self.registry.host}/{self.name}"
        argv = [sys.executable, "-m", PROGRAM, what, str(self.folder), place, *more]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def client(self, number: int) -> Any:
        return self.registry.client(f"{self.name}/{number}/web")


@pytest.fixture
def kills(home: Any, registry: Any, tmp_path: Path) -> Kills:
    """Return a home with two versions on one base, each with a statement, 1.0.2 in a channel."""
    base = home.layer(b"what both are built on")
    versions = [home.version("web", base, home.layer(own)) for own in (b"one", b"two")]
    for image in versions:
        statement = Statement(predicates.SECRETS, {"found": 0})
        keep_statements(home.layout, image, "kiln/web", [statement])
    promote(home.catalog, Promotion("web", "a test", version="1.0.2", channel="dev"))
    folder = tmp_path / "kills"
    folder.mkdir()
    home.root.rename(folder / "start")
    return Kills(folder, registry, versions)


def is_sound(home: Path) -> None:
    """Fail unless fsck finds nothing in the catalog and in the store."""
    catalog = Catalog(home / "catalog")
    assert check_catalog(catalog) == []
    cache = Cache(home / "cache", Layout(home / "store"))
    assert look(cache, catalog.indexes()).problems == ()


def is_whole(client: Any) -> list[str]:
    """Fail unless all that the registry has a tag for can be read; return the tags."""
    tags: list[str] = client.tags()
    for tag in tags:
        root = client.fetch(tag)
        found = family(root.descriptor, lambda one: client.fetch(one.digest).content)
        assert all(client.has_blob(blob) for blob in found.blobs.values())
    return tags


def test_a_push_killed_at_any_step_can_be_done_again(kills: Kills) -> None:
    times = kills.run("push")
    clients = [kills.client(number) for number in range(1, int(times) + 1)]
    assert len(clients) > 15
    ends = {len(is_whole(client)) for client in clients}
    assert ends == {0, 1, 2, 3, 4}
    is_sound(kills.folder / "start")
    kills.run("push", times)
    for client in clients[::EACH]:
        assert len(client.tags()) == 4
        for tag in ("1.0.2", "dev"):
            assert client.resolve(tag).digest == kills.versions[1].index.digest


def test_a_pull_killed_at_any_step_can_be_done_again(kills: Kills) -> None:
    times = kills.run("pull")
    layouts = [Layout(kills.folder / str(number)) for number in range(1, int(times) + 1)]
    assert len(layouts) > 10
    for layout in layouts:
        if (layout.root / "index.json").exists():
            assert look(Cache(layout.root / "none", layout), {}).problems == ()
    kills.run("pull", times)
    for layout in layouts[::EACH]:
        assert layout.tags()["web-1.0.2"].digest == kills.versions[1].index.digest
        assert len(layout.tags()) == 3
        assert look(Cache(layout.root / "none", layout), {}).problems == ()


def test_a_prune_killed_before_any_removal_in_the_registry_goes_on(kills: Kills) -> None:
    times = kills.run("prune")
    # The statements, which index and manifest have in common, the index, the manifest.
    assert times == "4"
    gone, kept = kills.versions
    for number in range(1, 5):
        is_sound(kills.folder / str(number))
        tags = is_whole(kills.client(number))
        assert {"1.0.2", "dev"} <= set(tags)
    kills.run("prune", times)
    for number in range(1, 5, EACH):
        client = kills.client(number)
        assert len(is_whole(client)) == 4
        assert client.resolve("1.0.2").digest == kept.index.digest
        for descriptor in (gone.index, gone.manifest):
            assert client.resolve(descriptor.digest) is None
        is_sound(kills.folder / str(number))
        assert not Layout(kills.folder / str(number) / "store").has(gone.index.digest)
