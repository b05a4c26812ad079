# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roundabout ways by which something reaches a layer; none of them is missed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.key.inputs import layer_key
from ansible_collections.kiln.immutable.plugins.module_utils.build.key.model import Secret

COPY = "- name: Copy\n  ansible.builtin.copy:\n    src: {src}\n    dest: /x\n"

#: what the role holds, the variables, and the file below images/ that the layer reads
OUTSIDE: dict[str, tuple[dict[str, str], dict[str, object], str]] = {
    "name in a loop around included tasks": (
        {
            "tasks/main.yml": "- include_tasks: one.yml\n  loop: [a, b]\n",
            "tasks/one.yml": COPY.format(src='"{{ item }}.txt"'),
        },
        {},
        "b.txt",
    ),
    "name that set_fact takes from another loop": (
        {
            "tasks/main.yml": "- set_fact:\n    chosen: '{{ item }}'\n  loop: [a.txt, b.txt]\n"
            "- copy:\n    src: '{{ chosen }}'\n    dest: '{{ item }}'\n  loop: [a.txt, c.txt]\n",
            "files/a.txt": "x",
            "files/c.txt": "x",
        },
        {},
        "b.txt",
    ),
    "name given to included tasks": (
        {
            "tasks/main.yml": "- include_tasks: one.yml\n  vars:\n    chosen: b.txt\n",
            "tasks/one.yml": COPY.format(src='"{{ chosen }}"'),
        },
        {},
        "b.txt",
    ),
    "name in a variable of a block": (
        {
            "tasks/main.yml": "- vars: {chosen: b.txt}\n  block:\n"
            "    - copy: src={{ chosen }} dest=/x\n"
        },
        {},
        "b.txt",
    ),
    "task in the rescue of a block": (
        {"tasks/main.yml": "- block: []\n  rescue:\n    - copy: src=b.txt dest=/x\n"},
        {},
        "b.txt",
    ),
    "merged key": (
        {
            "tasks/main.yml": "- name: One\n  copy: &same\n    src: b.txt\n    dest: /a\n"
            "- name: Two\n  copy:\n    <<: *same\n    dest: /x\n"
        },
        {},
        "b.txt",
    ),
    "arguments beside the module": (
        {"tasks/main.yml": "- copy:\n    dest: /x\n  args:\n    src: b.txt\n"},
        {},
        "b.txt",
    ),
    "default that a variable hides": (
        {
            "tasks/main.yml": COPY.format(src='"{{ chosen }}"'),
            "defaults/main.yml": "chosen: a.txt\n",
            "files/a.txt": "x",
        },
        {"chosen": "b.txt"},
        "b.txt",
    ),
    "variable of the role that hides one given": (
        {
            "tasks/main.yml": COPY.format(src='"{{ chosen }}"'),
            "vars/main.yml": "chosen: b.txt\n",
            "files/a.txt": "x",
        },
        {"chosen": "a.txt"},
        "b.txt",
    ),
    "handler": ({"handlers/main.yml": COPY.format(src="b.txt")}, {}, "b.txt"),
    "mapping in a list": (
        {"tasks/main.yml": COPY.format(src="\"{{ all[1]['name'] }}.txt\"")},
        {"all": [{"name": "a"}, {"name": "{{ second }}"}], "second": "b"},
        "b.txt",
    ),
    "choice": (
        {
            "tasks/main.yml": COPY.format(src="\"{{ 'a.txt' if big else 'b.txt' }}\""),
            "files/a.txt": "x",
        },
        {},
        "b.txt",
    ),
    "default of a filter": (
        {
            "tasks/main.yml": COPY.format(src="\"{{ chosen | default('b.txt', true) }}\""),
            "files/a.txt": "x",
        },
        {"chosen": ""},
        "b.txt",
    ),
    "nested list": (
        {
            "tasks/main.yml": "- copy: src={{ item }} dest=/x\n"
            "  with_items: ['{{ some }}', [b.txt]]\n",
            "files/a.txt": "x",
        },
        {"some": ["a.txt"]},
        "b.txt",
    ),
    "directory": ({"tasks/main.yml": COPY.format(src="tree/")}, {}, "tree/deep/down/b.txt"),
    "assembled directory": (
        {"tasks/main.yml": "- assemble:\n    src: tree\n    dest: /x\n    remote_src: false\n"},
        {},
        "tree/b.txt",
    ),
    "archive": ({"tasks/main.yml": "- unarchive: src=b.tar dest=/x\n"}, {}, "b.tar"),
    "script with arguments": ({"tasks/main.yml": "- script: b.sh --now '{{ x }}'\n"}, {}, "b.sh"),
    "variables": ({"tasks/main.yml": "- include_vars: ../../../images/b.yml\n"}, {}, "b.yml"),
    "directory of variables": (
        {"tasks/main.yml": "- include_vars:\n    dir: ../../../images/all\n"},
        {},
        "all/deep/b.yml",
    ),
    "file list": (
        {"tasks/main.yml": "- copy: src={{ item }} dest=/x\n  with_fileglob: '*.cfg'\n"},
        {},
        "b.cfg",
    ),
    "first of several": (
        {
            "tasks/main.yml": "- copy: src={{ item }} dest=/x\n  with_first_found:\n"
            "    - files: [a.txt, b.txt]\n      paths: [many]\n"
        },
        {},
        "many/b.txt",
    ),
    "lookup in a default": (
        {
            "tasks/main.yml": "- debug: msg={{ text }}\n",
            "defaults/main.yml": "text: \"{{ lookup('file', 'b.txt') }}\"\n",
        },
        {},
        "b.txt",
    ),
    "lookup in a variable given": (
        {"tasks/main.yml": "- debug: msg={{ text }}\n"},
        {"text": ["{{ lookup('ansible.builtin.file', where) }}"], "where": "b.txt"},
        "b.txt",
    ),
    "lookup in a template": (
        {"templates/x.j2": "{% set a = lookup('file', 'b.txt') %}"},
        {},
        "b.txt",
    ),
    "template that is included": ({"templates/x.j2": "{%- include 'b.j2' -%}"}, {}, "b.j2"),
    "template that is imported": (
        {"templates/x.j2": "{% from 'b.j2' import y with context %}"},
        {},
        "b.j2",
    ),
    "name in a secret": (
        {"tasks/main.yml": COPY.format(src='"{{ all.name }}"')},
        {"all": {"name": Secret("b.txt")}},
        "b.txt",
    ),
    "module of a collection": (
        {"tasks/main.yml": "- team.tools.place:\n    src: b.txt\n"},
        {},
        "b.txt",
    ),
    "link in the role": ({"tasks/main.yml": "[]"}, {}, "linked/b.txt"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_file_reached_in_a_roundabout_way_counts(site: Any, name: str) -> None:
    files, variables, read = OUTSIDE[name]
    for path, text in files.items():
        site.write(f"roles/one/{path}", text)
    site.write(f"images/{read}", "a: 1\n")
    if name == "link in the role":
        site.path("roles/one/files").mkdir()
        site.path("roles/one/files/linked").symlink_to("../../../images/linked")
    for variable, value in variables.items():
        site.set(variable, value)
    before = site.inputs("one")
    site.write(f"images/{read}", "a: 2\n")
    after = site.inputs("one")
    assert [str(one) for one in before.uncacheable] == []
    assert layer_key("parent", before, {}) != layer_key("parent", after, {})


def test_variables_in_a_file_outside_are_followed(role: Any) -> None:
    inputs = role(
        {"tasks/main.yml": "- include_vars: ../../../images/b.yml\n"},
        beside={"images/b.yml": 'one: "{{ given }}"\n'},
        variables={"given": 1},
    )
    assert inputs.manifest["variables"] == {"given": 1}


def test_role_named_by_a_loop_counts(role: Any) -> None:
    inputs = role(
        {"tasks/main.yml": "- include_role:\n    name: '{{ item }}'\n  loop: [two, three]\n"},
        beside={
            "roles/two/tasks/main.yml": "[]",
            "roles/three/meta/main.yml": "dependencies:\n  - {role: four, x: '{{ given }}'}\n",
            "roles/four/x": "",
        },
        variables={"given": 1},
    )
    assert inputs.uncacheable == ()
    assert set(inputs.manifest["roles"]) == {"two", "three", "four"}
    assert inputs.manifest["variables"] == {"given": 1}


def test_template_of_a_task_that_is_not_logged_makes_its_variables_secret(role: Any) -> None:
    inputs = role(
        {
            "tasks/main.yml": "- template: src=a.j2 dest=/x\n  no_log: true\n",
            "templates/a.j2": "{% include 'b.j2' %}",
            "templates/b.j2": "{{ given }}",
        },
        variables={"given": "clear words"},
    )
    assert "clear words" not in str(inputs.manifest)


def test_escaped_name_in_a_value_counts(role: Any) -> None:
    inputs = role(
        {"vars/main.yml": 'one: "{{ gi\\u0076en }}"\n'}, variables={"given": 1, "other": 2}
    )
    assert inputs.manifest["variables"] == {"given": 1}


def test_variable_that_a_plugin_reads_by_itself_can_be_named(role: Any) -> None:
    variables = {"given": "{{ more }}", "more": 1, "other": 2}
    inputs = role({"tasks/main.yml": "[]"}, variables=variables, implied=["given", "absent"])
    assert set(inputs.manifest["variables"]) == {"given", "more"}


def test_names_that_a_layer_sets_are_told(role: Any) -> None:
    inputs = role({"tasks/main.yml": "- set_fact: {one: 1}\n- command: x\n  register: two\n"})
    assert inputs.facts == {"one", "two"}


def test_bytes_that_are_no_text_are_digested_all_the_same(site: Any) -> None:
    site.write("roles/one/tasks/main.yml", "[]\n")
    for name in ("tasks/latin.yml", "templates/latin.j2", "vars/latin.yml", "files/raw"):
        path = site.path(f"roles/one/{name}")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"one: caf\xe9\n")
    before = layer_key("parent", site.inputs("one"), {})
    site.path("roles/one/files/raw").write_bytes(b"one: caf\xe8\n")
    assert layer_key("parent", site.inputs("one"), {}) != before


def test_name_that_is_no_text_is_digested(site: Any) -> None:
    site.write("roles/one/tasks/main.yml", "[]\n")
    before = layer_key("parent", site.inputs("one"), {})
    (site.path("roles/one") / b"caf\xe9".decode("utf-8", "surrogateescape")).touch()
    assert layer_key("parent", site.inputs("one"), {}) != before


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), {1: "a"}, {True: "a"}, {"!set": 1}, b"x", {"a"}, ("a", 1), None],
)
def test_every_kind_of_value_has_a_key(role: Any, value: object) -> None:
    inputs = role({"vars/main.yml": "one: '{{ given }}'\n"}, variables={"given": value})
    assert inputs.uncacheable == ()
    assert layer_key("parent", inputs, {})


def test_value_of_an_unknown_kind_is_told(role: Any) -> None:
    inputs = role({"vars/main.yml": "one: '{{ given }}'\n"}, variables={"given": object()})
    assert [one.reason for one in inputs.uncacheable] == [
        "the variable given holds object, which has no digest"
    ]
