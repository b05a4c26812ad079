# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pruning a home: what goes, what stays, and a kill at any step of it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.fsck import look
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.workshop import Workshop
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.changes import (
    Promotion,
    promote,
)
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.pruning import (
    Pruning,
    decide,
    prune_catalog,
)
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.retention import (
    RetentionPolicy,
)
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.version import (
    Version,
    VersionNumber,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer,
    Image,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.plugin_utils.held_versions import held_versions
from ansible_collections.kiln.immutable.plugins.plugin_utils.pruning import (
    collect_pruned,
    forget_in_engine,
    forget_in_store,
    freed,
    pruned_versions,
)


def strict(_policy: RetentionPolicy) -> RetentionPolicy:
    return RetentionPolicy(last=1, days=0, channel=1)


def silent(argv: Any, **_more: Any) -> Completed:
    """An engine that holds nothing."""
    return Completed(0, b"", b"")


def workshop(root: Path) -> Workshop:
    root.mkdir(exist_ok=True)
    return Workshop.at(Home.at(str(root)), Engine(silent))


def bake(shop: Workshop, catalog: Catalog, name: str, own: bytes) -> Version:
    """Store an image of a layer that all share and one of its own, and record it."""
    shop.layout.ensure()
    layers = []
    for content in (b"shared", own):
        layer = store_layer(shop.layout, [content * 1000])
        assert layer is not None
        layers.append(HistoryLayer(layer, "test"))
    image = write_image(shop.layout, ImageConfig("amd64", 0), layers)
    version, _new = catalog.record(
        name, "1.0", image.index.digest, lambda number: record_of(name, number, image)
    )
    shop.layout.tag(f"{name}-{version.number}", image.index)
    return version


def record_of(name: str, number: VersionNumber, image: Image) -> Version:
    return Version(
        image=name,
        number=str(number),
        index=image.index.digest,
        config=image.config.digest,
        bake_key="k",
        definition_digest="d",
        definition_revision=None,
        created="2026-01-01T00:00:00Z",
        size=1,
        base="debootstrap",
    )


@pytest.fixture
def team(shelf: Any) -> tuple[Workshop, Catalog]:
    """A home with web 1.0.1 to 1.0.4, of which prod has the second."""
    shop = workshop(shelf.folder / "home")
    catalog = Catalog(shop.home.catalog, now=shelf.catalog().now)
    for own in (b"a", b"b", b"c", b"d"):
        bake(shop, catalog, "web", own)
    promote(catalog, Promotion("web", "why", version="1.0.2", channel="prod"))
    return shop, replace(catalog, now=lambda: shelf.catalog().now() + timedelta(days=90))


def prune(shop: Workshop, catalog: Catalog) -> Pruning:
    """Do what the action does."""
    pruning, _changed = prune_catalog(catalog, lambda: decide(catalog, strict))
    pruned = pruned_versions(catalog, pruning)
    forget_in_engine(shop, pruned, look=False)
    forget_in_store(shop, pruned, pruning.staying)
    collect_pruned(shop, catalog, days=0, wait=0)
    return pruning


def test_what_nothing_needs_goes_with_its_bytes_and_the_rest_stays(
    team: tuple[Workshop, Catalog],
) -> None:
    shop, catalog = team
    before = sum(shop.layout.path(one).stat().st_size for one in shop.layout.digests())
    planned = freed(shop, decide(catalog, strict), days=0)
    pruning = prune(shop, catalog)
    after = sum(shop.layout.path(one).stat().st_size for one in shop.layout.digests())
    assert [version.number for version in pruning.going] == ["1.0.1", "1.0.3"]
    assert before - after == sum(one.bytes for one in planned) > 0
    assert sorted(shop.layout.tags()) == ["web-1.0.2", "web-1.0.4"]
    assert look(shop.cache, catalog.indexes()).problems == ()


def test_a_number_is_not_given_again_but_the_same_bytes_get_theirs_back(
    team: tuple[Workshop, Catalog],
) -> None:
    shop, catalog = team
    gone = catalog.version("web", "1.0.3")
    prune(shop, catalog)
    assert bake(shop, catalog, "web", b"e").number == "1.0.5"
    again = bake(shop, catalog, "web", b"c")
    assert gone is not None
    assert (again.number, again.index) == ("1.0.3", gone.index)
    assert sorted(catalog.tombstones("web")) == ["1.0.1"]


def test_two_images_of_the_same_bytes_do_not_lose_them_together(
    team: tuple[Workshop, Catalog],
) -> None:
    shop, catalog = team
    twin = bake(shop, catalog, "twin", b"a")
    prune(shop, catalog)
    assert catalog.version("web", "1.0.1") is None
    assert sorted(shop.layout.tags()) == ["twin-1.0.1", "web-1.0.2", "web-1.0.4"]
    assert shop.layout.has(twin.index)
    assert look(shop.cache, catalog.indexes()).problems == ()


def test_a_retention_that_the_catalog_sets_is_used_and_pins_are_kept(
    team: tuple[Workshop, Catalog],
) -> None:
    _shop, catalog = team
    (catalog.root / "retention.yml").write_text("last: 0\ndays: 0\nchannel: 1\n")
    (catalog.root / "images/web/pins.yml").write_text("pins: {1.0.3: for the audit}\n")
    going = decide(catalog, lambda policy: policy).going
    assert [version.number for version in going] == ["1.0.1", "1.0.4"]


def test_what_another_machine_baked_is_not_missed_here(
    team: tuple[Workshop, Catalog], shelf: Any
) -> None:
    shop, catalog = team
    shared = replace(catalog, remote=str(shelf.remote))
    other = shelf.catalog("other", shared=True)
    shared.change(lambda: None)
    elsewhere = shelf.record(other, 99)
    shared.pull()
    assert held_versions(shop, shared).keys() == {f"web 1.0.{n}" for n in (1, 2, 3, 4)}
    assert elsewhere.number == "1.0.5"
    pruning = prune(shop, shared)
    assert [version.number for version in pruning.going] == ["1.0.1", "1.0.3", "1.0.4"]
    assert look(shop.cache, held_versions(shop, shared)).problems == ()
    lost = catalog.version("web", "1.0.2")
    assert lost is not None
    shop.layout.path(lost.index).unlink()
    assert "web 1.0.2" in held_versions(shop, shared)


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_pruning
from datetime import UTC, datetime

folder = Path(sys.argv[1])


def change(step):
    seen = 0

    def watch(event, arguments):
        nonlocal seen
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in ("subprocess.Popen", "os.rename", "os.remove") or writes:
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    shop = test_pruning.workshop(folder / f"kill{step}")
    now = lambda: datetime(2027, 1, 1, tzinfo=UTC)
    catalog = test_pruning.Catalog(shop.home.catalog, now=now)
    sys.addaudithook(watch)
    test_pruning.prune(shop, catalog)


step, killed = 0, True
while killed:
    step += 1
    shutil.copytree(folder / "home", folder / f"kill{step}")
    child = os.fork()
    if child == 0:
        change(step)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0
print(step)
"""


def test_a_kill_at_any_step_leaves_a_whole_store_and_the_next_run_ends_it(
    team: tuple[Workshop, Catalog], shelf: Any, checkout: Path
) -> None:
    now = team[1].now
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(shelf.folder), str(Path(__file__).parent)],
        env={**os.environ, "PYTHONPATH": str(checkout / ".collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = int(done.stdout)
    assert steps > 40
    ends = []
    for step in range(1, steps + 1):
        shop = workshop(shelf.folder / f"kill{step}")
        catalog = Catalog(shop.home.catalog, now=now)
        catalog.change(lambda: None)
        assert look(shop.cache, catalog.indexes()).problems == ()
        assert shelf.git(catalog, "status", "--porcelain") == ""
        ends.append(len(catalog.numbers("web")))
        if step % 10 == 0:
            prune(shop, catalog)
            assert sorted(shop.layout.tags()) == ["web-1.0.2", "web-1.0.4"]
            assert look(shop.cache, catalog.indexes()).problems == ()
    assert set(ends) == {2, 4}
