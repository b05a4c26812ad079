# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Of what roles are told of their image, that counts which they ask for, and all when in doubt."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.key.members import asked_members

IMAGE = {"name": "web", "kind": "vm", "ports": [80]}


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("{{ kiln_image.kind }}", {"kind"}),
        ("{{ kiln_image . kind }}", {"kind"}),
        ("{{ kiln_image['kind'] }}{{ kiln_image[ \"name\" ] }}", {"kind", "name"}),
        ("{{ (kiln_image | default({})).kind | default('container') }}", {"kind"}),
        ("{{ ( kiln_image|d( {} ) )['ports'] }}", {"ports"}),
        ("{% for port in kiln_image.ports %}{% endfor %}", {"ports"}),
        ("when: kiln_image is defined", set()),
        ("when: kiln_image is not defined or kiln_image.kind == 'vm'", {"kind"}),
        ("{{ other.kiln_images }} my_kiln_image kiln_image_kind", set()),
        ("nothing of it", set()),
    ],
)
def test_members_that_are_asked_for(text: str, members: set[str]) -> None:
    asked = asked_members("kiln_image", IMAGE, [text, "more text"])
    assert asked == {key: value for key, value in IMAGE.items() if key in members}


@pytest.mark.parametrize(
    "text",
    [
        "{{ kiln_image }}",
        "{{ kiln_image | to_json }}",
        "{{ kiln_image.items() }}",
        "{{ kiln_image.get('kind') }}",
        "{{ kiln_image.kind () }}",
        "{{ kiln_image[what] }}",
        "{{ kiln_image['ki\\x6ed'] }}",
        "{{ kiln_image.vendor | default('') }}",
        "{{ (kiln_image | default(standard)).kind }}",
        "{{ show(kiln_image | default({})).kind }}",
        "{{ show (kiln_image | default({})).kind }}",
        "{{ (kiln_image | default({})) }}",
        "{% set image = kiln_image %}{{ kiln_image.kind }}",
        "{% for key in kiln_image %}{% endfor %}",
        "{{ vars['kiln_image'] }}",
        "{{ vars.kiln_image.kind }}",
        "{{ lookup('vars', 'kiln_image').kind }}",
        "var: kiln_image",
        "# kiln_image has the ports",
        "kiln_image is none",
    ],
)
def test_every_other_way_of_asking_makes_it_all(text: str) -> None:
    assert asked_members("kiln_image", IMAGE, ["{{ kiln_image.kind }}", text]) == IMAGE


def test_what_is_no_mapping_stays_as_it_is() -> None:
    assert asked_members("kiln_image", ["a"], ["{{ kiln_image.kind }}"]) == ["a"]


TASKS = "- name: Tell\n  ansible.builtin.debug:\n    msg: '%s'\n"


def keys(site: Any, tasks: str, **variables: object) -> tuple[object, object]:
    """Return what the key of a role has of two images that differ in their ports."""
    site.write("roles/teller/tasks/main.yml", tasks)
    for name, value in variables.items():
        site.set(name, value)
    told = []
    for ports in ([80], [443]):
        site.set("kiln_image", {**IMAGE, "ports": ports})
        told.append(site.inputs("teller").manifest["variables"])
    return told[0], told[1]


def test_a_role_that_asks_for_the_kind_is_the_same_for_other_ports(site: Any) -> None:
    one, other = keys(site, TASKS % "{{ kiln_image.kind }}")
    assert one == other == {"kiln_image": {"kind": "vm"}}


@pytest.mark.parametrize("value", ["kiln_image", "{{ kiln_image }}", ["kiln_image"]])
def test_the_name_in_a_variable_makes_it_all(site: Any, value: object) -> None:
    asked = '{{ kiln_image.kind }} {{ lookup("ansible.builtin.vars", which) }}'
    one, other = keys(site, TASKS % asked, which=value)
    assert one != other


def test_the_name_written_with_escapes_makes_it_all(site: Any) -> None:
    task = '- name: Tell\n  ansible.builtin.debug:\n    var: "kiln\\u005fimage"\n'
    one, other = keys(site, TASKS % "{{ kiln_image.kind }}" + task)
    assert one != other
