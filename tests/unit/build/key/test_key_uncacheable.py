# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be followed is told with file and line, and what can be is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.key.model import Secret
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError


def _task(body: str) -> str:
    return "- name: First\n  ansible.builtin.meta: noop\n- name: Second\n" + "".join(
        f"  {line}\n" for line in body.splitlines()
    )


def _template(text: str) -> dict[str, str]:
    return {
        "tasks/main.yml": _task("ansible.builtin.template:\n  src: a.j2\n  dest: /etc/a"),
        "templates/a.j2": f"first\n{text}\n",
    }


#: body of a task -> line and a part of the reason
TASKS: dict[str, tuple[str, int, str]] = {
    "hostvars": ('debug:\n  msg: "{{ hostvars[x].y }}"', 5, "hostvars"),
    "groups": ("debug:\n  msg: \"{{ groups['web'] }}\"", 5, "groups"),
    "vars computed": ('debug:\n  msg: "{{ vars[prefix ~ x] }}"', 5, "computed name"),
    "vars whole": ('debug:\n  msg: "{{ vars | to_json }}"', 5, "as a whole"),
    "lookup vars computed": ("debug:\n  msg: \"{{ lookup('vars', 'a' ~ b) }}\"", 5, "computed"),
    "varnames": ("debug:\n  msg: \"{{ query('varnames', '^x') }}\"", 5, "varnames"),
    "pipe": ("debug:\n  msg: \"{{ lookup('pipe', 'date') }}\"", 5, "lookup pipe"),
    "lines": ("debug:\n  msg: x\nwith_lines: date", 3, "with_lines"),
    "url": ("debug:\n  msg: \"{{ lookup('ansible.builtin.url', 'x') }}\"", 5, "lookup url"),
    "password": ("debug:\n  msg: \"{{ lookup('password', '/dev/null') }}\"", 5, "password"),
    "config": ("debug:\n  msg: \"{{ lookup('config', 'X') }}\"", 5, "lookup config"),
    "lookup computed": ('debug:\n  msg: "{{ lookup(kind, 1) }}"', 5, "computed"),
    "lookup of a collection": ("debug:\n  msg: \"{{ q('a.b.c', 1) }}\"", 5, "a.b.c"),
    "lookup in a condition": ("meta: noop\nwhen: lookup('pipe', 'x') == ''", 5, "pipe"),
    "lookup in a list of conditions": (
        "meta: noop\nwhen:\n  - a\n  - lookup('pipe', 'x')",
        7,
        "pipe",
    ),
    "lookup behind a nested brace": (
        "debug:\n  msg: \"{{ {'a': {'b': 1}} | combine(lookup('pipe', 'x')) }}\"",
        5,
        "pipe",
    ),
    "lookup behind a brace in a string": (
        "debug:\n  msg: \"{{ '}}' ~ lookup('pipe', 'x') }}\"",
        5,
        "pipe",
    ),
    "lookup with escaped quotes": ('debug:\n  msg: "{{ lookup(\\"pipe\\", 1) }}"', 5, "pipe"),
    "lookup with doubled quotes": ("debug:\n  msg: '{{ lookup(''pipe'', 1) }}'", 5, "pipe"),
    "lookup with an escaped letter": ("debug:\n  msg: \"{{ l\\u006fokup('pipe') }}\"", 5, "pipe"),
    "lookup in a block of text": (
        "copy:\n  dest: /x\n  content: |\n    a\n    {{ now() }}",
        8,
        "now",
    ),
    "now": ('debug:\n  msg: "{{ now(utc=true) }}"', 5, "now()"),
    "random": ('debug:\n  msg: "{{ [1, 2] | random }}"', 5, "random"),
    "random by name": ("debug:\n  msg: \"{{ x | map('random') }}\"", 5, "random"),
    "shuffle": ('debug:\n  msg: "{{ x | ansible.builtin.shuffle }}"', 5, "shuffle"),
    "salt": ("debug:\n  msg: \"{{ 'x' | password_hash('sha512') }}\"", 5, "salt"),
    "fileglob filter": ("debug:\n  msg: \"{{ '*.x' | fileglob }}\"", 5, "fileglob"),
    "test of a file": ("debug:\n  msg: x\nwhen: path is exists", 6, "test exists"),
    "negated test of a file": ("debug:\n  msg: x\nwhen: path is not file", 6, "test file"),
    "test by name": ("debug:\n  msg: \"{{ x | select('exists') }}\"", 5, "test exists"),
    "fact of the host": ('debug:\n  msg: "{{ ansible_date_time.iso8601 }}"', 5, "machine"),
    "fact of the host in a mapping": (
        "debug:\n  msg: \"{{ ansible_facts['kernel'] }}\"",
        5,
        "machine",
    ),
    "facts as a whole": ('debug:\n  msg: "{{ ansible_facts }}"', 5, "as a whole"),
    "facts computed": ('debug:\n  msg: "{{ ansible_facts[x] }}"', 5, "computed name"),
    "unknown fact": ('debug:\n  msg: "{{ ansible_something }}"', 5, "not among"),
    "name of the host": ('debug:\n  msg: "{{ inventory_hostname }}"', 5, "not among"),
    "checkout's path": ('debug:\n  msg: "{{ role_path }}"', 5, "place on this machine"),
    "delegate": ("command: date\ndelegate_to: localhost", 3, "another host"),
    "local action": ("local_action:\n  module: command\n  cmd: date", 3, "another host"),
    "connection": ("command: date\nconnection: local", 3, "connection"),
    "source made of a result": ('copy:\n  src: "{{ answer.stdout }}"\n  dest: /x', 5, "src"),
    "template by an unknown name": (
        'template:\n  src: "{{ name | regex_replace(1) }}"\n  dest: /x',
        5,
        "src",
    ),
    "tasks by an unknown name": ('include_tasks: "{{ unknown_name }}.yml"', 4, "include_tasks"),
    "role by an unknown name": ('include_role:\n  name: "{{ which }}"', 5, "include_role"),
    "role that is not there": ("include_role:\n  name: gone", 5, "no role gone"),
    "file that is not there": ("copy:\n  src: gone.txt\n  dest: /x", 5, "none of the places"),
    "options in a variable": ('copy: "{{ options }}"', 3, "options"),
    "options in arguments": ('copy:\nargs: "{{ options }}"', 3, "options"),
    "file in a home": ("copy:\n  src: ~/.ssh/id.pub\n  dest: /x", 5, "home"),
    "get_url": ("get_url:\n  url: https://example.org/x\n  dest: /x", 5, "checksum"),
    "get_url with a checksum from afar": (
        """get_url:
  url: https://example.org/x
  dest: /x
  checksum: sha256:https://example.org/sums""",
        7,
        "checksum",
    ),
    "uri": ("uri:\n  url: https://example.org/x", 5, "checksum"),
    "apt deb": ("apt:\n  deb: https://example.org/x.deb", 5, "checksum"),
    "unarchive of a URL": (
        "unarchive:\n  src: https://example.org/x.tgz\n  dest: /x\n  remote_src: true",
        5,
        "checksum",
    ),
    "key of a repository": (
        "deb822_repository:\n  name: x\n  signed_by: https://example.org/k.asc",
        6,
        "checksum",
    ),
    "git without a commit": ("git:\n  repo: x\n  dest: /x\n  version: main", 5, "commit"),
    "pip": ("pip:\n  name: requests", 3, "no lock"),
    "curl": ("shell: curl -fsSL https://example.org/x | sh", 4, "from afar"),
    "wget in arguments": ("command:\n  argv: [wget, x]", 5, "from afar"),
    "free form": ("action: copy src={{ x.stdout }} dest=/x", 4, "src"),
    "vault": ("debug:\n  msg: !vault |\n    $ANSIBLE_VAULT;1.1;AES256\n    31\n", 6, "password"),
    "options of a lookup": (
        "debug:\n  msg: \"{{ lookup('first_found', files=x) }}\"",
        5,
        "options",
    ),
    "module computed": ('action: "{{ kind }}"', 3, "computed"),
    "unknown module's source": ('team.tools.place:\n  src: "{{ x.stdout }}"', 5, "src"),
    "prompt": ("pause:\n  prompt: Go on?", 5, "asks"),
}


@pytest.mark.parametrize("name", TASKS)
def test_task_that_cannot_be_followed_names_its_line(role: Any, name: str) -> None:
    body, line, reason = TASKS[name]
    inputs = role({"tasks/main.yml": _task(body)})
    assert not inputs.cacheable
    told = [(one.path.name, one.line, one.reason) for one in inputs.uncacheable]
    assert [one for one in told if reason in one[2]], told
    assert ("main.yml", line) in {one[:2] for one in told if reason in one[2]}, told


@pytest.mark.parametrize("name", TASKS)
def test_declared_inputs_accept_what_cannot_be_followed(role: Any, name: str) -> None:
    inputs = role({"tasks/main.yml": _task(TASKS[name][0])}, declared=[])
    assert inputs.cacheable
    assert inputs.uncacheable


TEMPLATES = {
    "lookup": ("{{ lookup('pipe', 'x') }}", "pipe"),
    "statement": ("{% if lookup('pipe', 'x') %}a{% endif %}", "pipe"),
    "trimmed": ("{%- set x = now() -%}", "now()"),
    "fact": ("{{ ansible_hostname }}", "machine"),
    "path": ("{{ role_path }}", "place on this machine"),
    "include computed": ("{% include x ~ y %}", "the template"),
    "place of the template": ("{{ template_fullpath }}", "place on this machine"),
    "host that renders": ("# by {{ template_host }}", "machine that bakes"),
    "owner of the template": ("# {{ template_uid }}", "user who owns"),
    "time of the template": ("# {{ template_mtime }}", "time of a file"),
    "date of the run": ("# {{ template_run_date }}", "clock"),
    "words at random": ("{{ lipsum() }}", "random"),
    "over lines": ("{{ a\n | random }}", "random"),
    "comment before": ("{# it's {{ #}{{ now() }}", "now()"),
    "raw before": ("{% raw %}{{ '{% endraw %}{{ now() }}", "now()"),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_that_cannot_be_followed_names_its_line(role: Any, name: str) -> None:
    text, reason = TEMPLATES[name]
    inputs = role(_template(text))
    assert [one for one in inputs.uncacheable if reason in one.reason]
    assert {one.path.name for one in inputs.uncacheable} == {"a.j2"}
    assert {one.line for one in inputs.uncacheable} <= {2, 3}


def test_template_with_its_own_delimiters_is_read_wholly(role: Any) -> None:
    files = _template("x")
    files["templates/a.j2"] = "#jinja2: variable_start_string:'[%'\n[% now() %]\n"
    assert [one.line for one in role(files).uncacheable] == [2]


def test_delimiters_of_the_task_are_heeded(role: Any) -> None:
    files = _template("[% now() %]")
    files["tasks/main.yml"] += "    variable_start_string: '[%'\n"
    assert [one.reason for one in role(files).uncacheable] == ["now() reads the clock"]


FOLLOWED = {
    "default and a name": ("copy:\n  content: \"{{ name | default('x') }}\"\n  dest: /x", {}),
    "seeded": ('debug:\n  msg: "{{ 9 | random(seed=a) }}"', {}),
    "salted": ("debug:\n  msg: \"{{ 'x' | password_hash('sha512', salt) }}\"", {}),
    "fact of the image": ('debug:\n  msg: "{{ ansible_facts.distribution_release }}"', {}),
    "fact given": (
        'debug:\n  msg: "{{ ansible_facts.special }}"',
        {"ansible_facts": {"special": 1}},
    ),
    "packages": ("debug:\n  msg: x\nwhen: \"'nginx' in ansible_facts.packages\"", {}),
    "remote source": ("copy:\n  src: /etc/a\n  dest: /etc/b\n  remote_src: true", {}),
    "checksum": (
        "get_url:\n  url: https://example.org/x\n  dest: /x\n  checksum: sha256:" + "0" * 64,
        {},
    ),
    "checksum in a variable": (
        'get_url:\n  url: "{{ u }}"\n  dest: /x\n  checksum: "{{ sum }}"',
        {"u": "https://example.org/x", "sum": "sha256:" + "0" * 64},
    ),
    "git with a commit": ("git:\n  repo: x\n  dest: /x\n  version: " + "a" * 40, {}),
    "link": ("file:\n  src: /usr/bin/x\n  dest: /x\n  state: link", {}),
    "delegated to itself": (
        'command: x\ndelegate_to: "{{ inventory_hostname }}"',
        {"inventory_hostname": "web"},
    ),
    "vars by name": ("debug:\n  msg: \"{{ vars['x'] }} {{ lookup('vars', 'x') }}\"", {}),
    "literal in the role": ("copy:\n  src: known.txt\n  dest: /x", {}),
    "path of the role": ('copy:\n  src: "{{ role_path }}/files/known.txt"\n  dest: /x', {}),
    "loop of names": ('copy:\n  src: "{{ item }}.txt"\n  dest: /x\nloop: [known]', {}),
    "loop of mappings": (
        'copy:\n  src: "{{ item.a }}"\n  dest: /x\nloop:\n  - {a: known.txt, b: 1}',
        {},
    ),
    "loop with its own name": (
        'copy:\n  src: "{{ one }}"\n  dest: /x\nloop: "{{ all }}"\nloop_control:\n  loop_var: one',
        {"all": ["known.txt"]},
    ),
    "loop over a mapping": (
        'copy:\n  src: "{{ item.value }}"\n  dest: /x\nloop: "{{ all | dict2items }}"',
        {"all": {"x": "known.txt"}},
    ),
    "fileglob": ('copy:\n  src: "{{ item }}"\n  dest: /x\nwith_fileglob: "*.txt"', {}),
    "query fileglob": (
        "copy:\n  src: \"{{ item }}\"\n  dest: /x\nloop: \"{{ query('fileglob', '*.txt') }}\"",
        {},
    ),
    "first found": (
        'copy:\n  src: "{{ item }}"\n  dest: /x\nwith_first_found: [gone.txt, known.txt]',
        {},
    ),
    "variable of the task": ('copy:\n  src: "{{ a }}"\n  dest: /x\nvars:\n  a: known.txt', {}),
    "two variables": (
        'copy:\n  src: "{{ a }}/{{ b }}"\n  dest: /x',
        {"a": "{{ c }}", "b": "known.txt", "c": "."},
    ),
    "condition in a path": (
        "copy:\n  src: \"{{ 'known.txt' if x else 'known.txt' }}\"\n  dest: /x",
        {},
    ),
    "free form": ("copy: src=known.txt dest=/x", {}),
    "script with computed arguments": ("script: known.txt {{ answer.stdout }}", {}),
    "groups of a user": ("user:\n  name: x\n  groups: [web]", {}),
    "attribute called groups": ('debug:\n  msg: "{{ user.groups }}"', {}),
    "package": ("apt:\n  name: nginx", {}),
    "unsafe text": ('debug:\n  msg: !unsafe "{{ now() }}"', {}),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_task_that_can_be_followed_is_cacheable(role: Any, name: str) -> None:
    body, variables = FOLLOWED[name]
    inputs = role({"tasks/main.yml": _task(body), "files/known.txt": "x"}, variables=variables)
    assert [str(one) for one in inputs.uncacheable] == []


def test_comment_of_a_template_is_not_judged(role: Any) -> None:
    assert role(_template("{# {{ now() }} #}{% raw %}{{ now() }}{% endraw %}")).cacheable


def test_file_that_is_only_copied_is_not_judged(role: Any) -> None:
    files = {
        "tasks/main.yml": _task("copy:\n  src: dashboard.json\n  dest: /x"),
        "files/dashboard.json": "{{ now() }} {{ hostvars }}",
    }
    assert role(files).cacheable


def test_file_that_a_task_renders_is_judged_wherever_it_lies(role: Any) -> None:
    files = {
        "tasks/main.yml": _task("template:\n  src: ../files/a.conf\n  dest: /x"),
        "files/a.conf": "{{ now() }}",
    }
    assert [one.path.name for one in role(files).uncacheable] == ["a.conf"]


def test_template_outside_of_the_role_is_followed(role: Any) -> None:
    files = {"tasks/main.yml": _task("template:\n  src: far.j2\n  dest: /x")}
    beside = {"images/templates/far.j2": "{{ team_name }}"}
    one = role(files, beside=beside, variables={"team_name": "a", "other": "b"})
    assert one.manifest["variables"] == {"team_name": "a"}
    assert "definition:templates/far.j2" in one.manifest["outside"]


def test_tasks_outside_of_the_role_are_followed(role: Any) -> None:
    files = {"tasks/main.yml": _task("include_tasks: ../../../shared/more.yml")}
    beside = {"shared/more.yml": '- debug:\n    msg: "{{ now() }} {{ team_name }}"\n'}
    one = role(files, beside=beside, variables={"team_name": "a"})
    assert [(told.path.name, told.line) for told in one.uncacheable] == [("more.yml", 2)]
    assert one.manifest["variables"] == {"team_name": "a"}


def test_value_of_a_variable_that_cannot_be_followed_names_where_it_was_given(site: Any) -> None:
    site.set("team_domain", "{{ lookup('pipe', 'hostname') }}")
    site.variables["team_domain"] = replace(
        site.variables["team_domain"], origin=Path("group_vars/all.yml"), line=4
    )
    assert [str(one) for one in site.inputs("nginx").uncacheable] == [
        "group_vars/all.yml:4: the lookup pipe reads what cannot be followed"
    ]
    assert site.inputs("base").cacheable


def test_fact_of_an_earlier_layer_makes_a_path_uncertain(role: Any) -> None:
    files = {
        "tasks/main.yml": _task('copy:\n  src: "{{ chosen }}"\n  dest: /x'),
        "files/a": "x",
    }
    assert role(files, variables={"chosen": "a"}).cacheable
    assert not role(files, variables={"chosen": "a"}, earlier=["chosen"]).cacheable


def test_vault_text_is_followed_when_it_can_be_opened(role: Any) -> None:
    files = {
        "tasks/main.yml": _task('debug:\n  msg: "{{ one_word }}"'),
        "defaults/main.yml": "one_word: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  31\n",
    }
    assert [one.path.name for one in role(files).uncacheable] == ["main.yml"]
    opened = role(files, variables={"inner": "x"}, reveal=lambda text: "{{ inner }}")
    assert opened.cacheable
    assert str(opened.manifest["variables"]["inner"]["!secret"]).startswith("hmac-sha256:")


def test_task_that_is_not_logged_makes_its_variables_secret(role: Any) -> None:
    files = {"tasks/main.yml": _task('debug:\n  msg: "{{ outer }}"\nno_log: true')}
    told = role(files, variables={"outer": "a {{ inner }}", "inner": "clear words"}).manifest
    assert "clear words" not in str(told)
    assert set(told["variables"]) == {"outer", "inner"}


def test_block_that_is_not_logged_makes_environment_and_files_secret(role: Any) -> None:
    body = (
        "no_log: true\nblock:\n  - debug:\n      msg: \"{{ lookup('env', 'TOKEN') }}\"\n"
        "  - copy:\n      src: key.pem\n      dest: /x"
    )
    told = role(
        {"tasks/main.yml": _task(body)},
        environment={"TOKEN": "clear words"},
        beside={"images/files/key.pem": "x"},
    ).manifest
    assert told["environment"]["TOKEN"].startswith("hmac-sha256:")
    assert told["outside"]["definition:files/key.pem"].startswith("hmac-sha256:")


def test_path_made_of_a_secret_is_not_told(role: Any) -> None:
    told = role(
        {"tasks/main.yml": _task('copy:\n  src: "{{ where }}"\n  dest: /x')},
        variables={"where": Secret("hidden-name.txt")},
        beside={"images/files/hidden-name.txt": "x"},
    )
    assert told.cacheable
    assert "hidden-name" not in str(told.manifest)


def test_declared_inputs_are_part_of_the_key(role: Any) -> None:
    def analyse(content: str) -> Any:
        beside = {"images/data/a/b.txt": content, "images/list.csv": "1"}
        return role({"tasks/main.yml": "[]"}, declared=["data", "*.csv"], beside=beside).manifest

    one = analyse("x")
    assert set(one["declared"]["data"]) == {"data/a/b.txt"}
    assert set(one["declared"]["*.csv"]) == {"list.csv"}
    assert analyse("y") != one


def test_declared_input_that_names_nothing_is_refused(role: Any) -> None:
    with pytest.raises(DriverError, match=r"declared input typo/\* names nothing"):
        role({"tasks/main.yml": "[]"}, declared=["typo/*"])


def test_role_that_is_not_there_is_refused(site: Any) -> None:
    with pytest.raises(DriverError, match="no role gone"):
        site.inputs("gone")


def test_text_that_is_no_yaml_is_told(role: Any) -> None:
    inputs = role({"tasks/main.yml": "- a: [\n- b\n"})
    assert [one.path.name for one in inputs.uncacheable] == ["main.yml"]
    assert "not YAML" in inputs.uncacheable[0].reason


def test_endless_structures_end(role: Any) -> None:
    files = {
        "tasks/main.yml": "- &a\n  debug:\n    msg: *a\n",
        "vars/main.yml": 'one: "{{ two }}"\ntwo: "{{ one }}"\nthree: &t [*t]\n',
    }
    loop = _task('copy:\n  src: "{{ one }}"\n  dest: /x')
    assert not role({**files, "tasks/more.yml": loop}).cacheable


def test_link_to_itself_ends(site: Any) -> None:
    site.path("roles/base/files").mkdir()
    site.path("roles/base/files/self").symlink_to("self")
    site.path("roles/base/files/up").symlink_to("..")
    site.path("roles/base/files/gone").symlink_to("nowhere")
    files = site.inputs("base").manifest["files"]
    assert files["files/self"] == "link -> self loop"
    assert files["files/gone"] == "link -> nowhere broken"
