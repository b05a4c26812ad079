# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has no part in the result changes no key."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LAYERS = ("base", "hardening", "nginx", "app")


def _everywhere(site: Any, change: Callable[[Path], object]) -> None:
    for path in site.root.rglob("*"):
        change(path)


def _reorder(site: Any) -> None:
    site.variables = dict(reversed(site.variables.items()))


NON_CHANGES: dict[str, Callable[[Any], object]] = {
    "times of files": lambda s: _everywhere(s, lambda path: os.utime(path, (1, 1))),
    "umask 077": lambda s: _everywhere(s, lambda p: p.chmod(p.stat().st_mode & 0o700)),
    "umask 002": lambda s: _everywhere(s, lambda p: p.chmod(p.stat().st_mode | 0o020)),
    "a comment in the definition": lambda s: s.write("images/web.yml", "# why\nname: web\n"),
    "the order of the variables": _reorder,
    "the order of keys that are asked for by name": lambda s: s.set(
        "nginx_tls", {"tickets": False, "protocols": "TLSv1.3"}
    ),
    "the order of keys in the items of a loop": lambda s: s.set(
        "hardening_limits", [{"value": 0, "name": "core", "domain": "*"}]
    ),
    "what no role asks of the image": lambda s: s.set(
        "kiln_image", {"ports": [], "name": "shop", "suite": "bookworm"}
    ),
    "a variable that no role reads": lambda s: s.set("unrelated", "other"),
    "a variable that is new and that no role reads": lambda s: s.set("more", "{{ site_name }}"),
    "a variable of the environment that no role reads": lambda s: s.environment.update(LANG="C"),
    "another locale": lambda s: s.environment.update(LC_ALL="de_DE.UTF-8", TZ="Asia/Tokyo"),
    "another user": lambda s: s.environment.update(USER="somebody", HOME="/home/somebody"),
    "README": lambda s: s.write("roles/base/README.md", "Much to read.\n"),
    "a control of the role": lambda s: s.write("roles/base/meta/controls.yml", "controls: []\n"),
    "a test of the role": lambda s: s.write("roles/base/tests/test.yml", "- hosts: all\n"),
    "a scenario of the role": lambda s: s.write("roles/base/molecule/default/x.yml", "a: b\n"),
    "history": lambda s: s.write("roles/base/.git/HEAD", "ref: x\n"),
    "compiled Python": lambda s: s.write("roles/base/filter_plugins/__pycache__/x.pyc", "x"),
    "a backup of an editor": lambda s: s.write("roles/base/tasks/main.yml~", "- x\n"),
    "another role": lambda s: s.write("roles/other/tasks/main.yml", "- x\n"),
    "a file beside the ones that are read": lambda s: s.write("images/other.txt", "x\n"),
    "a collection that is not used": lambda s: s.plugins.update({"team.other": "9"}),
    "where a variable was given": lambda s: s.variables.update(
        base_editor=replace(s.variables["base_editor"], origin=Path("/x"), line=3)
    ),
    "the umask of the mount": lambda s: s.root.chmod(0o700),
}


@pytest.mark.parametrize("name", NON_CHANGES)
def test_no_key_changes(site: Any, name: str) -> None:
    before = site.chain()
    NON_CHANGES[name](site)
    assert site.chain() == before


def test_enough_non_changes_are_told() -> None:
    assert len(NON_CHANGES) >= 15


def test_checkout_moved_gives_the_same_keys(site: Any, tmp_path: Path) -> None:
    before = site.chain()
    new = tmp_path / "elsewhere" / "deep" / "down"
    new.parent.mkdir(parents=True)
    shutil.move(site.root, new)
    site.root = new
    assert site.chain() == before


def test_manifest_is_plain_json_without_a_path_of_the_machine(site: Any) -> None:
    for name in LAYERS:
        told = json.dumps(site.inputs(name).manifest)
        assert str(site.root) not in told
        assert "$6$salt" not in told


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    parts=st.lists(
        st.text(
            st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20
        ).filter(lambda part: part not in (".", "..")),
        min_size=1,
        max_size=4,
    )
)
def test_no_name_of_a_checkout_matters(
    make_site: Callable[[Path], Any], tmp_path_factory: Any, parts: list[str]
) -> None:
    base = tmp_path_factory.mktemp("checkouts")
    assert make_site(base.joinpath(*parts)).chain() == make_site(base / "~plain~").chain()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(["team_domain", "nginx_worker_connections", "base_editor"]),
    one=st.text() | st.integers() | st.booleans() | st.none(),
    two=st.text() | st.integers() | st.booleans() | st.none(),
)
def test_keys_are_equal_exactly_when_the_values_are(
    make_site: Callable[[Path], Any], tmp_path_factory: Any, name: str, one: object, two: object
) -> None:
    site = make_site(tmp_path_factory.mktemp("values"))
    site.set(name, one)
    before = site.chain()
    site.set(name, two)
    same = type(one) is type(two) and one == two
    assert (site.chain() == before) is same
