# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With which settings an instance runs."""

from __future__ import annotations

from ansible_collections.kiln.immutable.plugins.module_utils.drift.findings import Kind
from ansible_collections.kiln.immutable.plugins.module_utils.drift.settings import (
    SAFE,
    compare_settings,
    image_settings,
    observed_settings,
)

DOCUMENT = {
    "Config": {"User": "33", "Env": ["A=1", "TOKEN=hunter2"], "Cmd": ["serve"]},
    "HostConfig": {"Memory": 1 << 28, "CapAdd": ["CAP_NET_ADMIN"], "Privileged": True},
    "NetworkSettings": {"Networks": {"bridge": {}}},
}


def test_an_instance_has_the_settings_that_it_has() -> None:
    observed = observed_settings(DOCUMENT)
    assert list(compare_settings(observed, observed, whole_environment=True)) == []


def test_a_setting_that_was_changed_is_told_with_both_values() -> None:
    observed = observed_settings(DOCUMENT)
    (one,) = compare_settings({"memory": 1 << 27}, observed)
    assert str(one) == "setting memory changed: 134217728 -> 268435456"


def test_what_no_instance_may_have_is_told_without_being_asked() -> None:
    found = {one.subject for one in compare_settings(SAFE, observed_settings(DOCUMENT))}
    assert found == {"privileged", "cap_add"}


def test_values_of_variables_are_never_told() -> None:
    observed = observed_settings(DOCUMENT)
    expected = {"env.A": "1", "env.TOKEN": "secret", "env.B": "x"}
    found = list(compare_settings(expected, observed, whole_environment=True))
    assert [(one.subject, one.how, one.kind) for one in found] == [
        ("env.B", "removed", Kind.SETTING),
        ("env.TOKEN", "changed", Kind.SETTING),
    ]
    assert "hunter2" not in "".join(map(str, found))
    assert "secret" not in "".join(map(str, found))


def test_a_variable_that_nobody_declared_is_told_when_all_are_known() -> None:
    observed = observed_settings(DOCUMENT)
    (one,) = compare_settings({"env.A": "1"}, observed, whole_environment=True)
    assert (one.subject, one.how) == ("env.TOKEN", "added")
    assert list(compare_settings({"env.A": "1"}, observed)) == []


def test_an_image_asks_only_for_what_it_names() -> None:
    assert image_settings({"User": "www-data", "Env": ["EMPTY="]}) == {
        "user": "www-data",
        "env.EMPTY": "",
    }
