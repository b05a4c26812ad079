# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog: which numbers versions get, and that none is lost, doubled or given again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.version import (
    Version,
    VersionNumber,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "catalog")


def index(number: int) -> str:
    return f"sha256:{number:064x}"


def maker(image: str, digest: str) -> Callable[[VersionNumber], Version]:
    def make(number: VersionNumber) -> Version:
        return Version(
            image=image,
            number=str(number),
            index=digest,
            config="sha256:c",
            bake_key="sha256:k",
            definition_digest="sha256:d",
            definition_revision=None,
            created="2026-01-10T10:30:12Z",
            size=7,
            base="debootstrap",
        )

    return make


def record(
    catalog: Catalog, number: int, image: str = "web", series: str = "1.0"
) -> tuple[Version, bool]:
    return catalog.record(image, series, index(number), maker(image, index(number)))


def git(catalog: Catalog, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(catalog.root), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def path(catalog: Catalog, number: str, image: str = "web") -> Path:
    return catalog.root / "images" / image / "versions" / f"{number}.yml"


def test_the_first_version_makes_the_catalog(catalog: Catalog) -> None:
    version, is_new = record(catalog, 1)
    assert (version.number, is_new) == ("1.0.1", True)
    assert catalog.version("web", "1.0.1") == version
    assert git(catalog, "status", "--porcelain") == ""
    assert git(catalog, "log", "--format=%s") == "web 1.0.1: baked from debootstrap\n"


def test_other_bytes_get_the_next_number(catalog: Catalog) -> None:
    numbers = [record(catalog, number)[0].number for number in range(11)]
    assert numbers == [f"1.0.{number}" for number in range(1, 12)]
    assert [str(number) for number in catalog.numbers("web")] == numbers


def test_the_same_bytes_are_the_same_version(catalog: Catalog) -> None:
    first, _new = record(catalog, 1)
    record(catalog, 2)
    assert record(catalog, 1) == (first, False)
    assert len(git(catalog, "log", "--format=%h").split()) == 2


def test_a_number_is_known_before_it_is_given(catalog: Catalog) -> None:
    catalog.ensure()
    asked = []
    for number in (1, 2, 1):
        asked.append(catalog.number_of("web", "1.0", index(number)))
        assert record(catalog, number)[0].number == asked[-1]

    assert asked == ["1.0.1", "1.0.2", "1.0.1"]
    assert catalog.number_of("web", "1.0", "") == "1.0.3"


def test_a_version_is_found_by_the_key_of_its_bake(catalog: Catalog) -> None:
    first, _new = record(catalog, 1)

    assert catalog.numbers_baked("web", first.bake_key) == ["1.0.1"]
    assert catalog.numbers_baked("web", "sha256:" + "0" * 64) == []


def test_each_image_and_each_series_counts_for_itself(catalog: Catalog) -> None:
    record(catalog, 1)
    assert record(catalog, 1, image="db")[0].number == "1.0.1"
    assert record(catalog, 2, series="1.1")[0].number == "1.1.1"
    assert record(catalog, 3, series="1.0")[0].number == "1.0.2"


def test_what_is_not_there_is_none(catalog: Catalog) -> None:
    assert catalog.version("web", "1.0.1") is None
    assert catalog.find("web", index(1)) is None
    assert catalog.numbers("web") == []


@pytest.mark.parametrize("committed", [True, False])
def test_a_number_is_not_given_again_after_its_file_was_removed(
    catalog: Catalog, committed: bool
) -> None:
    for number in range(3):
        record(catalog, number)
    path(catalog, "1.0.3").unlink()
    if committed:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        git(catalog, *identity, "commit", "--quiet", "--all", "--message", "prune")
    assert record(catalog, 9)[0].number == "1.0.4"
    assert record(catalog, 2)[0].number == "1.0.5"


@pytest.mark.parametrize("added", [True, False])
def test_a_record_that_somebody_did_not_commit_is_left_alone_and_its_number_is_taken(
    catalog: Catalog, added: bool
) -> None:
    record(catalog, 1)
    draft = path(catalog, "1.0.2")
    draft.write_text(path(catalog, "1.0.1").read_text().replace(index(1), index(2)))
    if added:
        git(catalog, "add", "--all")
    assert record(catalog, 3)[0].number == "1.0.3"
    assert git(catalog, "status", "--porcelain").split()[1] == "images/web/versions/1.0.2.yml"
    assert index(2) not in git(catalog, "log", "--patch")


def test_other_changes_in_the_working_tree_are_left_alone(catalog: Catalog) -> None:
    record(catalog, 1)
    (catalog.root / "README.md").write_text("ours\n")
    record(catalog, 2)
    assert git(catalog, "status", "--porcelain") == "?? README.md\n"


def record_in(root: Path, number: int) -> str:
    return record(Catalog(root), number)[0].number


def test_ten_processes_at_once_record_ten_versions(catalog: Catalog) -> None:
    with ProcessPoolExecutor(10) as pool:
        numbers = list(pool.map(record_in, [catalog.root] * 10, range(10)))
    assert sorted(numbers) == sorted(f"1.0.{number}" for number in range(1, 11))
    assert len(catalog.numbers("web")) == 10
    assert git(catalog, "status", "--porcelain") == ""
    assert len(git(catalog, "log", "--format=%h").split()) == 10
    assert {found.number for n in range(10) if (found := catalog.find("web", index(n)))} == set(
        numbers
    )


def test_a_user_whom_git_knows_is_the_author(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    for number, (key, value) in enumerate([("name", "Ann"), ("email", "ann@example.org")]):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", f"user.{key}")
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    record(catalog, 1)
    assert git(catalog, "log", "--format=%an <%ae>") == "Ann <ann@example.org>\n"


@pytest.mark.parametrize("known", ["", "name", "email"])
def test_a_user_whom_git_does_not_know_wholly_needs_no_settings(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, known: str
) -> None:
    if known:
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", f"user.{known}")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "ann@example.org")
    record(catalog, 1)
    assert git(catalog, "log", "--format=%an <%ae>") == "kiln <kiln@localhost>\n"


def test_a_bake_that_a_git_hook_starts_does_not_touch_the_hook_s_repository(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "app")], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "app" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "app" / ".git" / "index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "app"))
    record(catalog, 1)
    monkeypatch.undo()
    assert list((tmp_path / "app").iterdir()) == [tmp_path / "app" / ".git"]
    assert not list((tmp_path / "app" / ".git" / "objects").glob("??"))
    assert len(git(catalog, "log", "--format=%h").split()) == 1


def test_what_a_user_ignores_everywhere_is_recorded_all_the_same(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ignored").write_text("*.yml\n")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.excludesFile")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(tmp_path / "ignored"))
    record(catalog, 1)
    assert git(catalog, "ls-files") == "images/web/versions/1.0.1.yml\n"


def test_a_catalog_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DriverError, match="file/catalog cannot be made") as failed:
        record(Catalog(tmp_path / "file" / "catalog"), 1)
    assert "KILN_HOME" in failed.value.hint


def test_without_git_it_says_what_to_install(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DriverError, match="git is not installed"):
        record(catalog, 1)


@pytest.mark.parametrize("text", ["", "[]", "image: web\n", "{image: web, colour: red}\n"])
def test_a_damaged_record_is_an_error_and_no_absence(catalog: Catalog, text: str) -> None:
    record(catalog, 1)
    path(catalog, "1.0.1").write_text(text)
    with pytest.raises(DriverError):
        catalog.version("web", "1.0.1")


def test_a_file_that_is_no_version_is_named(catalog: Catalog) -> None:
    record(catalog, 1)
    path(catalog, "notes").write_text("mine\n")
    with pytest.raises(DriverError, match="notes"):
        record(catalog, 2)
