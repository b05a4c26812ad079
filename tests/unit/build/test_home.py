# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a bake keeps things, and that the home's secret is one for all."""

from __future__ import annotations

import stat
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError


def test_an_option_goes_before_the_environment(tmp_path: Path) -> None:
    environment = {"KILN_HOME": str(tmp_path / "b"), "XDG_DATA_HOME": str(tmp_path / "c")}
    assert Home.at(str(tmp_path / "a"), environment).root == tmp_path / "a"
    assert Home.at(None, environment).root == tmp_path / "b"
    assert Home.at("", environment).root == tmp_path / "b"
    del environment["KILN_HOME"]
    assert Home.at(None, environment).root == tmp_path / "c" / "kiln"


def test_a_home_that_nobody_named_is_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Home.at(None, {}).root == tmp_path / ".local" / "share" / "kiln"
    assert Home.at("~/bakes", {}).root == tmp_path / "bakes"


def test_a_new_home_is_its_owner_s_alone(tmp_path: Path) -> None:
    home = Home.at(str(tmp_path / "new"), {})
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700


def test_a_home_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DriverError, match="file/kiln cannot be made") as failed:
        Home.at(str(tmp_path / "file" / "kiln"), {})
    assert "KILN_HOME" in failed.value.hint


def test_a_file_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DriverError, match="cannot be made"):
        Home.at(str(tmp_path / "file"), {})


def test_the_secret_stays_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    first = home.secret_key()
    assert home.secret_key() == first
    assert len(first) == 32
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


def test_two_homes_have_two_secrets(tmp_path: Path) -> None:
    homes = [Home.at(str(tmp_path / name), {}) for name in "ab"]
    assert homes[0].secret_key() != homes[1].secret_key()


def secret_of(root: Path) -> bytes:
    return Home(root).secret_key()


def test_first_runs_at_the_same_time_agree_on_one_secret(tmp_path: Path) -> None:
    for round_number in range(5):
        root = tmp_path / str(round_number)
        root.mkdir()
        with ProcessPoolExecutor(4) as pool:
            secrets = set(pool.map(secret_of, [root] * 4))
        assert len(secrets) == 1
        assert [path.name for path in root.iterdir()] == ["secret.key"]
