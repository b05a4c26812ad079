# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a collection of garbage takes, what it never takes, and a death in the middle of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.garbage import (
    Removal,
    collect,
    plan_collection,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import Cache
from ansible_collections.kiln.immutable.plugins.module_utils.core.canonical import digest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = 1_800_000_000.0

DYING = """
import json, os, signal, sys
from pathlib import Path
from ansible_collections.kiln.immutable.plugins.module_utils.build import garbage, records
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

home, versions, now, steps, before = json.loads(sys.argv[1])
left = [steps]


def die_or_remove(path):
    if left[0] == 0 and before:
        os.kill(os.getpid(), signal.SIGKILL)
    os.unlink(path)
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1


cache = records.Cache(Path(home) / "cache", Layout(Path(home) / "store"))
garbage.collect(
    garbage.plan_collection(cache, versions, now=now, days=30), remove=die_or_remove
)
"""


def plan(made: Any, days: float = 30) -> list[Removal]:
    return plan_collection(made.cache, made.versions, now=NOW, days=days)


def labels(removals: list[Removal]) -> list[str]:
    return [f"{removal.kind} {removal.label}" for removal in removals]


def everything(home: Path) -> set[str]:
    return {str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()}


def test_a_home_without_a_store_has_no_garbage(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", Layout(tmp_path / "store"))
    assert plan_collection(cache, {}, now=NOW, days=0) == []


def test_versions_tags_and_young_records_stay(made: Any) -> None:
    base, app = made.base(age=100), made.layer("app", "one", age=100)
    made.version("1.0.1", base, app)
    young = made.layer("other", "two", age=29)
    tagged = made.version("1.0.9", base, made.layer("tagged", "three", age=100))
    del made.versions["web 1.0.9"]
    collect(plan(made))
    assert made.whole(made.versions["web 1.0.1"])
    assert made.whole(tagged.index.digest)
    assert made.cache.layer(young.key) == young
    # What it would take to make a base again is not known, and it takes no room of its own.
    assert made.cache.base(base.key) == base


def test_a_layer_that_was_of_no_use_for_long_goes_with_its_blob(made: Any) -> None:
    old = made.layer("app", "one", age=30)
    made.layer("app", "two", age=1)
    removals = plan(made)
    blob = old.layer.descriptor
    assert labels(removals) == [f"record layer app {old.key[7:19]}", f"blob {blob.digest}"]
    assert removals[-1].size == blob.size
    collect(removals)
    assert made.cache.layer(old.key) is None
    assert plan(made) == []


def test_a_noted_use_keeps_an_old_record(made: Any) -> None:
    old = made.layer("app", "one", age=100)
    made.cache.note_use("layers", old.key)
    # Noted now, by the machine's clock: it is younger than the record in any case.
    noted = made.cache.use_path("layers", old.key)
    os.utime(noted, (NOW, NOW))
    assert plan(made) == []
    made.grow_old("layers", old.key, 31)
    assert f"leftover {noted.name}" in labels(plan(made))
    collect(plan(made))
    assert not noted.exists()


def test_a_note_costs_a_write_a_day(made: Any) -> None:
    old = made.layer("app", "one")
    path = made.cache.use_path("layers", old.key)
    made.cache.note_use("layers", old.key)
    written = path.stat().st_mtime_ns
    made.cache.note_use("layers", old.key)
    assert path.stat().st_mtime_ns == written
    os.utime(path, (0, 0))
    made.cache.note_use("layers", old.key)
    assert path.stat().st_mtime > 0


def test_what_the_next_bake_starts_from_stays_at_any_age(made: Any) -> None:
    base, app, older = made.base(), made.layer("app", "two", age=99), made.layer("app", "1", age=99)
    made.version("1.0.1", base, older)
    made.version("1.0.2", base, app)
    assert labels(plan(made)) == [f"record layer app {older.key[7:19]}"]


def test_records_of_versions_that_the_catalog_does_not_have_go(made: Any) -> None:
    app = made.layer("app", "one", age=99)
    made.version("1.0.1", made.base(), app)
    made.versions.clear()
    made.layout.untag("web-1.0.1")
    collect(plan(made))
    assert made.cache.bake(digest("1.0.1")) is None
    assert made.cache.layer(app.key) is None
    assert not made.layout.has(app.layer.descriptor.digest)


def test_what_killed_writers_left_goes(made: Any) -> None:
    app = made.layer("app", "one")
    half = made.cache.record_path("layers", app.key).with_name(".x.json.abc.partial")
    half.write_text("{")
    note = made.cache.use_path("layers", "sha256:" + "0" * 64)
    note.parent.mkdir(parents=True)
    note.touch()
    assert labels(plan(made)) == [f"leftover {half.name}", f"leftover {note.name}"]


def test_quarantined_blobs_go_when_they_are_old(made: Any) -> None:
    blob = made.layout.put(b"content", "text/plain")
    made.damage(blob.digest)
    aside = made.layout.set_aside(blob.digest)
    os.utime(aside, (NOW - 86400, NOW - 86400))
    assert plan(made) == []
    assert labels(plan(made, days=1)) == [f"leftover {aside.name}"]


def test_listings_of_layers_go_when_they_are_old(made: Any) -> None:
    made.layout.listings.mkdir()
    listing = made.layout.listings / "abc"
    listing.write_bytes(b"")
    os.utime(listing, (NOW - 86400, NOW - 86400))
    assert plan(made) == []
    assert labels(plan(made, days=1)) == ["leftover abc"]


def test_notes_and_drafts_go_when_they_are_old(made: Any) -> None:
    for folder in ("locks", "base-packages", "disks", "bills"):
        note = made.cache.root / folder / "abc.json"
        note.parent.mkdir(parents=True)
        note.write_text("{}")
        os.utime(note, (NOW - 86400, NOW - 86400))
    assert plan(made) == []
    assert labels(plan(made, days=1)) == ["leftover abc.json"] * 4


@pytest.mark.parametrize("part", ["index", "manifest"])
@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_nothing_goes_when_it_is_not_known_what_a_version_needs(
    made: Any, part: str, how: str
) -> None:
    image = made.version("1.0.1", made.base(), made.layer("app", "one", age=99))
    made.layer("garbage", "x", age=99)
    lost = getattr(image, part).digest
    if how == "missing":
        made.layout.path(lost).unlink()
    else:
        made.damage(lost)
    with pytest.raises(DriverError, match=r"version web 1\.0\.1 .*cannot be known.*Run kiln"):
        plan(made)


def test_a_version_that_lacks_a_layer_keeps_the_others(made: Any) -> None:
    app, other = made.layer("app", "one", age=99), made.layer("other", "two", age=99)
    made.version("1.0.1", made.base(age=99), app, other)
    made.layout.path(app.layer.descriptor.digest).unlink()
    collect(plan(made))
    assert made.layout.has(other.layer.descriptor.digest)


def test_a_death_at_any_step_leaves_a_sound_home_and_a_next_run_ends_it(
    made: Any, tmp_path: Path
) -> None:
    base, app = made.base(age=99), made.layer("app", "one", age=99)
    made.version("1.0.1", base, app)
    for number in range(3):
        made.layer("old", str(number), age=99)
    made.base("another base", age=99)
    made.layout.put(b"nobody refers to this", "text/plain")
    young = made.layer("young", "y", age=1)
    removals = plan(made)
    assert {removal.kind for removal in removals} == {"record", "blob"}
    ended = everything(made.home.root) - {
        str(removal.path.relative_to(made.home.root)) for removal in removals
    }
    for step in range(len(removals)):
        for before in (True, False):
            home = tmp_path / f"{step}-{before}"
            shutil.copytree(made.home.root, home)
            argument = json.dumps([str(home), made.versions, NOW, step, before])
            died = subprocess.run([sys.executable, "-c", DYING, argument], check=False)
            assert died.returncode == -signal.SIGKILL
            layout = Layout(home / "store")
            cache = Cache(home / "cache", layout)
            kept = type(made)(made.home, cache, made.versions)
            assert kept.whole(made.versions["web 1.0.1"])
            assert cache.layer(young.key) == young
            for path in (home / "cache" / "layers").glob("*.json"):
                assert cache.layer("sha256:" + path.stem) is not None, "a record without its blob"
            collect(plan_collection(cache, made.versions, now=NOW, days=30))
            assert everything(home) == ended


@settings(max_examples=60, deadline=None)
@given(
    ages=st.lists(st.integers(0, 60), min_size=1, max_size=8),
    versions=st.lists(st.sets(st.integers(0, 7), min_size=1), max_size=3),
    days=st.integers(0, 60),
)
def test_what_is_needed_is_never_taken(
    another_home: Callable[[], Any],
    ages: list[int],
    versions: list[set[int]],
    days: int,
) -> None:
    made = another_home()
    base = made.base()
    layers = [made.layer("app", str(n), age=age) for n, age in enumerate(ages)]
    for number, chosen in enumerate(versions):
        made.version(f"1.0.{number}", base, *(layers[n % len(layers)] for n in sorted(chosen)))
    collect(plan_collection(made.cache, made.versions, now=NOW, days=days))
    assert all(made.whole(index) for index in made.versions.values())
    for layer, age in zip(layers, ages, strict=True):
        found = made.cache.layer(layer.key)
        assert found is not None or age >= days
    assert plan_collection(made.cache, made.versions, now=NOW, days=days) == []
