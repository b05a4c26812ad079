# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bakes beside each other: of one image twice, and of several images with a limit."""

from __future__ import annotations

import itertools
import re
from typing import Any


def test_of_two_bakes_at_the_same_moment_one_waits_and_reuses(team: Any) -> None:
    name = team.name()
    team.image(name, team.file_role())
    with team.start() as first:
        second = team.bake()
        assert first.wait(240) == 0
    outputs = [(team.folder / "output").read_text(), second.output]
    assert sum("Another bake has the same images" in output for output in outputs) == 1
    captured = [re.findall(r"^TASK \[Capture the layer", one, re.MULTILINE) for one in outputs]
    assert sorted(map(len, captured)) == [0, 2]
    assert team.numbers(name) == ["1.0.1"]
    assert "problems: 0" in team.play("playbooks/fsck.yml").output


def test_a_role_that_cannot_be_read_ends_its_own_image_alone(team: Any) -> None:
    names = [team.name(stem) for stem in ("a", "b", "c")]
    good = team.file_role()
    team.image(names[0], good)
    team.image(names[1], team.role("torn", "- name: Torn\n  ansible.builtin.debug:\n    msg: 'x\n"))
    team.image(names[2], {"role": good, "vars": {"app_text": "c"}})
    run = team.bake("-e", "kiln_parallel=1", "--skip-tags", "nobody-has-this", ends=2)
    # One at a time: none has begun before the one in front of it is done.
    began = re.findall(r"^(?:ok|changed): \[(\S+)\]", run.output, re.MULTILINE)
    in_turn = [name for name, _lines in itertools.groupby(began) if name in names]
    assert sorted(in_turn) == sorted(names)
    *_others, told = re.findall(r"^YAML parsing failed.*$", run.output, re.MULTILINE)
    assert f"{team.folder}/roles/torn/tasks/main.yml:" in told
    assert f"{names[1]} was not baked." in run.output
    assert [team.numbers(name) for name in names] == [["1.0.1"], [], ["1.0.1"]]
    # Which tags are skipped that no role has is no reason to run a layer again.
    again = team.bake("--check", ends=0)
    assert {name for name in names if f"{name} 1.0.1: nothing to do." in again.output} == {
        names[0],
        names[2],
    }


def test_images_of_one_bake_make_once_what_they_share(team: Any) -> None:
    shared = team.role(
        "shared",
        "- name: Take a while\n  ansible.builtin.command: sleep 3\n  changed_when: true\n"
        "- name: Tell the kind\n  ansible.builtin.copy:\n"
        "    content: '{{ kiln_image.kind }}'\n    dest: /srv/kind\n    mode: '0644'\n",
    )
    own = team.file_role()
    names = [team.name(stem) for stem in ("a", "b")]
    for name in names:
        team.image(name, shared, {"role": own, "vars": {"app_text": name}})
    run = team.bake("-e", "kiln_parallel=2")
    assert sorted(set(run.layers_run)) == ["app", "seal", "shared"]
    assert run.layers_run.count("shared") == 1
    assert "which makes the same layer shared" in run.output
    for name in names:
        assert [team.cat(name, path) for path in ("/srv/kind", "/srv/app")] == ["container", name]
