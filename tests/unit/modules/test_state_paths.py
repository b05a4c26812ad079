# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which paths a service could write to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.modules import state_paths


def status(mode: int, uid: int, gid: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "can"),
    [
        pytest.param(0o100444, 33, 0, True, id="an-owner-can-change-the-mode"),
        pytest.param(0o100664, 0, 33, True, id="its-group-may-write"),
        pytest.param(0o100644, 0, 33, False, id="its-group-may-read"),
        pytest.param(0o100606, 0, 33, False, id="others-may-write-but-its-group-may-not"),
        pytest.param(0o100602, 0, 0, True, id="others-may-write"),
        pytest.param(0o100644, 0, 0, False, id="only-root-may-write"),
    ],
)
def test_who_can_write(mode: int, uid: int, gid: int, can: bool) -> None:
    service = state_paths.Service(33, frozenset({33}))
    assert service.can_write(status(mode, uid, gid)) is can


def test_for_root_only_what_everybody_can_write_counts() -> None:
    root = state_paths.find_service("root:adm")
    assert not root.can_write(status(0o100644, 0, 0))
    assert root.can_write(status(0o100666, 0, 0))


def test_a_user_without_an_account_has_the_group_that_was_named() -> None:
    assert state_paths.find_service("54321:54322") == state_paths.Service(54321, frozenset({54322}))


def test_a_user_that_is_not_there_is_named() -> None:
    with pytest.raises(DriverError, match="The user nobody-of-the-kind of the service"):
        state_paths.find_service("nobody-of-the-kind")


def test_what_can_be_written_is_found_and_what_is_allowed_is_not(tmp_path: Path) -> None:
    for name in ("state/deep", "other"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("state/deep/file", "other/open", "other/closed"):
        (tmp_path / name).write_text("x")
    (tmp_path / "other" / "link").symlink_to("open")
    (tmp_path / "other" / "open").chmod(0o666)
    (tmp_path / "state" / "deep" / "file").chmod(0o666)
    everybody = state_paths.Service()
    assert list(state_paths.writable(str(tmp_path), everybody, ["/state"])) == ["/other/open"]


def test_a_path_is_not_below_another_that_begins_like_it() -> None:
    assert state_paths.below("/srv/data/file", ["/srv/data"])
    assert not state_paths.below("/srv/database", ["/srv/data"])


def test_an_owner_that_is_no_number_is_named() -> None:
    with pytest.raises(DriverError, match=r"The state /srv has the owner 'www-data:www-data'"):
        state_paths.wanted({"path": "/srv", "owner": "www-data:www-data", "mode": "0755"})


def test_a_file_in_the_place_of_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DriverError, match="is no directory in the image"):
        state_paths.observe(str(tmp_path / "file"))
