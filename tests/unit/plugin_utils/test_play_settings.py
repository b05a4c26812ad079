# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings and tags of a run: which of them are part of a layer's key."""

from __future__ import annotations

import pytest
from ansible import constants
from ansible_collections.kiln.immutable.plugins.plugin_utils.play_settings import (
    implied_variables,
    managed,
    selected,
    settings,
)


@pytest.mark.parametrize(
    ("tags", "skipped"),
    [
        ([], []),
        (["all"], []),
        (["all"], ["molecule-notest", "notest"]),
        (["all", "other"], ["other"]),
    ],
)
def test_tags_that_no_role_mentions_mean_nothing(tags: list[str], skipped: list[str]) -> None:
    assert selected(tags, skipped, {"web"}) == [["all"], []]


def test_tags_that_a_role_mentions_count() -> None:
    whole = selected(["all"], [], {"web"})
    assert selected(["all"], ["web"], {"web"}) == [["all"], ["web"]]
    assert selected(["web"], [], {"web"}) == [["web"], []]
    # Of a role that mentions none of them, all tasks are left out.
    assert selected(["other"], [], {"web"}) == selected(["another"], [], set()) != whole
    assert selected(["all"], ["untagged"], set()) != whole


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Give what sets environment variables; settings are read from them each time."""
    return monkeypatch


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("ANSIBLE_HASH_BEHAVIOUR", "merge", "DEFAULT_HASH_BEHAVIOUR"),
        ("ANSIBLE_BECOME", "true", "DEFAULT_BECOME"),
        ("ANSIBLE_JINJA2_EXTENSIONS", "jinja2.ext.do", "DEFAULT_JINJA2_EXTENSIONS"),
        ("ANSIBLE_SUDO_FLAGS", "-n", "ANSIBLE_SUDO_FLAGS"),
    ],
)
def test_a_setting_that_can_change_the_image_counts(
    configured: pytest.MonkeyPatch, variable: str, value: str, name: str
) -> None:
    assert settings() == {}
    configured.setenv(variable, value)
    assert set(settings()["settings"]) == {name}


def test_the_default_said_aloud_is_the_default(configured: pytest.MonkeyPatch) -> None:
    configured.setenv("ANSIBLE_HASH_BEHAVIOUR", "replace")
    configured.setenv("ANSIBLE_FORKS", "7")
    assert settings() == {}


def test_a_password_is_kept_nowhere(configured: pytest.MonkeyPatch) -> None:
    configured.setenv("ANSIBLE_SUDO_PASS", "clear words")
    assert "clear words" not in str(settings())


def test_a_changing_text_of_managed_files_is_not_taken_for_a_steady_one(
    configured: pytest.MonkeyPatch,
) -> None:
    assert managed() == {"ansible_managed": constants.DEFAULT_MANAGED_STR}
    configured.setattr(constants.config, "get_config_value", lambda _name: "by {uid} on %Y")
    assert managed() == {}


def test_variables_that_say_who_runs_tasks_count_unnamed() -> None:
    names = ["ansible_become", "ansible_become_user", "ansible_sudo_exe", "nginx", "ansible_host"]
    assert implied_variables(names) == names[:3]
