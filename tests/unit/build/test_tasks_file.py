# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tasks that are written for an image, as Ansible itself reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import EncryptedString
from ansible.template import is_trusted_as_template, trust_as_template
from ansible_collections.kiln.immutable.plugins.module_utils.build.tasks_file import (
    RoleRun,
    render_tasks,
)
from hypothesis import given
from hypothesis import strategies as st

VAULTED = """secret: !vault |
  $ANSIBLE_VAULT;1.1;AES256
  33363965326261303234623163623963633064376538376630333537626234616637376361376262
  3466623264313930323865363839623862656563333938650a
"""


def read(*runs: RoleRun) -> list[Any]:
    """Return the tasks as Ansible's loader gives them."""
    tasks: list[Any] = DataLoader().load(trust_as_template(render_tasks(runs)), "/tasks.yml")
    return tasks


def variables(*sources: str) -> dict[str, Any]:
    (task,) = read(RoleRun("web", "role", sources))
    found: dict[str, Any] = task.get("vars", {})
    return found


def test_a_layer_is_its_role_its_handlers_and_its_capture() -> None:
    (task,) = read(RoleRun("web", "kiln.immutable.nginx", ()))
    assert task["name"] == "Layer web"
    assert "tags" not in task  # the tasks of the role would inherit it
    assert "vars" not in task
    assert [one["tags"] for one in task["block"]] == [["always"]] * 3
    role, handlers, capture = task["block"]
    assert role["ansible.builtin.include_role"] == {"name": "kiln.immutable.nginx"}
    assert handlers["ansible.builtin.meta"] == "flush_handlers"
    assert capture["kiln.immutable.layer_capture"] == {"layer": "web"}


def test_a_layer_may_run_whole_whatever_tags_are_asked_for() -> None:
    (task,) = read(RoleRun("seal", "kiln.immutable.seal", (), always=True))
    role = task["block"][0]["ansible.builtin.include_role"]
    assert role == {"name": "kiln.immutable.seal", "apply": {"tags": ["always"]}}


def test_layers_keep_their_order() -> None:
    tasks = read(*(RoleRun(name, name, ("a: 1\n",)) for name in ("c", "a", "b")))
    assert [task["name"] for task in tasks] == ["Layer c", "Layer a", "Layer b"]


def test_no_layers_are_an_empty_file_of_tasks() -> None:
    assert not read()


def test_names_may_hold_any_text() -> None:
    path = '/srv/r\u00f6les/\U0001f525 a: "b" #c'
    (task,) = read(RoleRun("web", path, ()))
    assert task["block"][0]["ansible.builtin.include_role"]["name"] == path


def test_of_several_sources_the_later_one_wins() -> None:
    assert variables("a: 1\nb: 1\n", "b: 2\nc: 2\n", "c: 3\n") == {"a": 1, "b": 2, "c": 3}


def test_a_mapping_is_replaced_and_not_merged() -> None:
    assert variables("a: {x: 1}\n", "a: {y: 2}\n") == {"a": {"y": 2}}


@pytest.mark.parametrize("sources", [("{}\n",), ("", "{}\n"), ("\n",)])
def test_empty_sources_are_no_variables(sources: tuple[str, ...]) -> None:
    assert variables(*sources) == {}


def test_an_empty_source_changes_nothing() -> None:
    assert variables("{}\n", "a: 1\n", "{}\n") == {"a": 1}


@pytest.mark.parametrize("others", [(), ("b: 1\n",)])
def test_a_template_stays_one_and_an_unsafe_text_stays_text(others: tuple[str, ...]) -> None:
    found = variables("open: '{{ x }}'\nshut: !unsafe '{{ x }}'\n", *others)
    assert is_trusted_as_template(found["open"])
    assert found["shut"] == "{{ x }}"
    assert not is_trusted_as_template(found["shut"])


@pytest.mark.parametrize("others", [(), ("b: 1\n",)])
def test_a_vault_value_stays_encrypted(others: tuple[str, ...]) -> None:
    found = variables(VAULTED, *others)["secret"]
    assert isinstance(found, EncryptedString)
    assert found._ciphertext.startswith("$ANSIBLE_VAULT;1.1;AES256\n3336396532")


@pytest.mark.parametrize("others", [(), ("b: 1\n",)])
def test_texts_of_several_lines_keep_them(others: tuple[str, ...]) -> None:
    source = "a: |\n  one\n\n    two\n        \n  three\nz: >-\n  four\n  five\n"
    found = variables(source, *others)
    assert found["a"] == "one\n\n  two\n      \nthree\n"
    assert found["z"] == "four five"


TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from("abc"), VALUES),
    st.dictionaries(st.sampled_from("bcd"), VALUES),
    st.sampled_from([None, "|", '"']),
)
def test_any_values_arrive_as_they_were_written(
    one: dict[str, Any], other: dict[str, Any], style: str | None
) -> None:
    sources = tuple(
        yaml.safe_dump(values, allow_unicode=True, default_style=style) for values in (one, other)
    )
    loaded = [yaml.safe_load(source) for source in sources]
    text = render_tasks([RoleRun("web", "role", sources)])
    (task,) = yaml.safe_load(text)
    assert json.dumps(task.get("vars", {}), sort_keys=True) == json.dumps(
        {**loaded[0], **loaded[1]}, sort_keys=True
    )


def test_facts_of_restored_layers_come_first_as_text() -> None:
    facts = {"shop_id": "{{ not a template }} \U0001f525", "shop_ports": [80, {"tls": True}]}
    text = render_tasks([RoleRun("web", "role", ())], facts)
    given, layer = DataLoader().load(trust_as_template(text), "/tasks.yml")
    assert given["ansible.builtin.set_fact"] == facts
    assert not is_trusted_as_template(given["ansible.builtin.set_fact"]["shop_id"])
    assert layer["name"] == "Layer web"


def test_without_a_layer_to_run_no_facts_are_given() -> None:
    assert not yaml.safe_load(render_tasks([], {"shop_id": 1}))
