# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks as files, what they give to keys, and what changed from one to the next."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.base import base_key
from ansible_collections.kiln.immutable.plugins.module_utils.build.chain import base_chain_key
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    Archive,
    Debootstrap,
    Definition,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.lock import (
    Change,
    Installed,
    Lock,
    LockedBase,
    Package,
    changes,
    differences,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.lock_file import (
    read_lock,
    render_lock,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.lock_state import (
    LockMode,
    base_lock_key,
    layers_lock_key,
    lock_digests,
    lock_path,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import BaseRecord
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.core.yaml_source import (
    Source,
    read_source,
)
from ansible_collections.kiln.immutable.plugins.module_utils.report.lock_changes import (
    render_lock_changes,
)


def package(
    name: str, version: str = "1.0", *, suite: str = "bookworm", seed: str = "a"
) -> Package:
    place = f"http://mirror.example.org/debian/pool/{name}_{version}_all.deb"
    return Package(Installed(name, version, "all"), seed * 64, 10, place, suite)


LOCK = Lock(
    "amd64",
    "bookworm",
    LockedBase(
        "debootstrap",
        epoch=1_700_000_000,
        sources="deb http://mirror.example.org/debian bookworm main\n",
        packages=(
            package("dpkg", "1:1.21"),
            dataclasses.replace(package("yes"), priority="required"),
        ),
    ),
    ("deb [signed-by=/k.gpg] http://mirror.example.org/security bookworm-security main",),
    {"nginx": (package("nginx", "1.22~rc1-9+b1"), Package(Installed("own", "3", "amd64")))},
    (package("python3"),),
)


@pytest.fixture
def definition(tmp_path: Path) -> Definition:
    return Definition(
        "web", tmp_path / "web.yml", "images/web.yml", "sha256:0", Debootstrap("bookworm")
    )


def test_a_lock_is_read_as_it_was_written(definition: Definition) -> None:
    lock_path(definition).write_text(render_lock("web", LOCK))
    assert lock_path(definition).name == "web.lock.yml"
    assert read_lock(definition) == LOCK


def test_a_definition_without_lock_has_none(definition: Definition, tmp_path: Path) -> None:
    assert read_lock(definition) is None
    assert lock_digests(definition, tmp_path / "notes") is None


BAD: dict[str, tuple[str | tuple[str, str], str]] = {
    "nothing": ("", "images/web.lock.yml:1: the lock is empty; make it with"),
    "a comment": ("# later\n", "the lock is empty"),
    "another format": (("lock: 1", "lock: 7"), ":4: lock is 7; this release reads format 1"),
    "no format": (("lock: 1\n", ""), "lock is missing; this lock has no format"),
    "a hash cut short": (("a" * 64, "a" * 63), "it must be the 64 hex digits"),
    "a number for a version": (('version: "1:1.21"', "version: 1.21"), "write it with quotes"),
    "no version": (('      version: "1:1.21"\n', ""), "base.packages[0].version is missing"),
    "an unknown key": (("architecture: amd64", "arch: amd64"), "arch is not a known key"),
    "a slip in a package": (("      sha256:", "      sha265:"), "did you mean sha256?"),
    "no base": (("base:", "x:"), "base is missing; it must say what the base is"),
    "another kind": (("kind: debootstrap", "kind: debostrap"), "did you mean debootstrap?"),
    "a url without hash": (
        (f"      sha256: {'a' * 64}\n", ""),
        "which has a url and no sha256; refresh the lock",
    ),
    "no YAML": (("base:", "base: ["), "images/web.lock.yml:"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_lock_is_refused_with_file_line_and_remedy(case: str, definition: Definition) -> None:
    change, expected = BAD[case]
    text = render_lock("web", LOCK)
    text = change if isinstance(change, str) else text.replace(*change)
    assert text != render_lock("web", LOCK)
    lock_path(definition).write_text(text)
    with pytest.raises(DriverError) as caught:
        read_lock(definition)
    assert expected in caught.value.message
    assert caught.value.message.startswith("images/web.lock.yml:")


def test_digests_are_of_what_is_installed_and_not_of_how_it_is_written(
    definition: Definition, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    text = render_lock("web", LOCK)
    lock_path(definition).write_text(text)
    first = lock_digests(definition, notes)
    assert first == LOCK.digests
    assert lock_digests(definition, notes) == first
    lock_path(definition).write_text(
        "# ours\n" + text.replace("mirror.example.org/debian/pool", "x/pool")
    )
    assert lock_digests(definition, notes) == first


def test_a_lock_whose_bytes_are_known_is_not_parsed(
    definition: Definition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []

    def counting(path: Path, shown: str) -> Source:
        parsed.append(path.read_bytes())
        return read_source(path, shown)

    monkeypatch.setattr(f"{read_lock.__module__}.read_source", counting)
    lock_path(definition).write_text(render_lock("web", LOCK))
    for _time in range(3):
        assert lock_digests(definition, tmp_path / "notes") == LOCK.digests
    assert len(parsed) == 1


def test_the_toolkit_is_pinned_and_no_part_of_keys() -> None:
    without = dataclasses.replace(LOCK, toolkit=())
    assert without.digests == LOCK.digests
    assert render_lock("web", without) != render_lock("web", LOCK)


def test_a_damaged_note_of_a_lock_is_made_anew(definition: Definition, tmp_path: Path) -> None:
    lock_path(definition).write_text(render_lock("web", LOCK))
    lock_digests(definition, tmp_path / "notes")
    (note,) = (tmp_path / "notes").iterdir()
    note.write_text("{")
    assert lock_digests(definition, tmp_path / "notes") == LOCK.digests


def test_each_package_is_in_the_digest_of_its_part() -> None:
    layers = dataclasses.replace(LOCK, layers={"nginx": (package("nginx", "1.23"),)})
    assert layers.digests.base == LOCK.digests.base
    assert layers.digests.layers != LOCK.digests.layers
    moved = dataclasses.replace(LOCK, layers={"other": LOCK.layers["nginx"]})
    assert moved.digests.layers != LOCK.digests.layers
    other = dataclasses.replace(LOCK.base, packages=(package("dpkg", "1:1.21", seed="b"),))
    base = dataclasses.replace(LOCK, base=other)
    assert base.digests.base != LOCK.digests.base
    assert base.digests.layers == LOCK.digests.layers


def test_a_lock_changes_the_keys_of_base_and_layers() -> None:
    origin = Debootstrap("bookworm")
    plain = base_key(origin, "amd64")
    keys = {mode: base_key(origin, "amd64", base_lock_key(mode, LOCK.digests)) for mode in LockMode}
    assert keys[LockMode.NONE] == plain
    assert len(set(keys.values())) == len(LockMode)
    record = BaseRecord("base", (), 0, "bookworm", "amd64", 1.0)
    assert base_chain_key(record) == base_chain_key(record, layers_lock_key(LockMode.NONE, None))
    assert base_chain_key(record) != base_chain_key(record, LOCK.digests.layers)
    assert layers_lock_key(LockMode.USE, LOCK.digests) == LOCK.digests.layers


def test_a_base_that_pins_itself_has_the_same_key_with_a_lock() -> None:
    origin = Archive(Path("/root.tar"), "sha256:" + "a" * 64)
    assert base_key(origin, "amd64") == base_key(origin, "amd64", "sha256:lock")


def test_changes_name_each_package_that_moved_came_or_went() -> None:
    new = dataclasses.replace(
        LOCK,
        layers={"nginx": (package("nginx", "1.24", suite="bookworm-security"), package("zlib"))},
    )
    assert changes(LOCK, new) == (
        Change("nginx", "1.22~rc1-9+b1", "1.24", "bookworm-security"),
        Change("own", "3", ""),
        Change("zlib", "", "1.0", "bookworm"),
    )
    assert changes(LOCK, LOCK) == ()
    assert [one.old for one in changes(None, LOCK)] == [""] * 4


def test_the_table_of_changes_has_a_column_for_old_and_new() -> None:
    summary = {
        "name": "web",
        "lock": "images/web.lock.yml",
        "packages": 97,
        "written": True,
        "changes": [["nginx", "1.22", "1.24", "bookworm-security"], ["own", "3", "", ""]],
    }
    assert render_lock_changes(summary).splitlines()[1:] == [
        "web: 97 packages in images/web.lock.yml, 2 moved:",
        "",
        "  package  old   new   from",
        "  nginx    1.22  1.24  bookworm-security",
        "  own      3     -",
    ]
    assert "none moved" in render_lock_changes({**summary, "changes": []})


def test_differences_name_the_package_and_both_versions() -> None:
    locked = (package("a"), package("b"), package("c"))
    found = [Installed("a", "1.0", "all"), Installed("b", "2.0", "all"), Installed("d", "4", "all")]
    assert differences("the layer app", locked, found) == (
        "b: the layer app installed 2.0, but the lock says 1.0.",
        "c: the lock says 1.0, but the layer app did not install it.",
        "d: the layer app installed 4, and the lock does not have it.",
    )
    assert differences("the base", locked, [one.installed for one in locked]) == ()
