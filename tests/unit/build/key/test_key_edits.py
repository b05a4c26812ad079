# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each edit changes the keys of exactly the layers that it can have a part in."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.key.model import (
    Secret,
    Unsafe,
    Variable,
)

LAYERS = ("base", "hardening", "nginx", "app")
Edit = Callable[[Any], object]


def _nested(site: Any) -> None:
    site.set("app_title", {"text": "Welcome", "token": Secret("two")})


EDITS: dict[str, tuple[Edit, set[str]]] = {
    "a task": (
        lambda s: s.edit("roles/base/tasks/main.yml", "state: present", "state: latest"),
        {"base"},
    ),
    "a comment in a task file": (
        lambda s: s.edit("roles/base/tasks/main.yml", "---", "---\n# why"),
        {"base"},
    ),
    "a default": (
        lambda s: s.edit("roles/base/defaults/main.yml", "Etc/UTC", "Europe/Rome"),
        {"base"},
    ),
    "a handler": (
        lambda s: s.edit("roles/nginx/handlers/main.yml", "nginx -t", "nginx -T"),
        {"nginx"},
    ),
    "a template": (
        lambda s: s.edit("roles/nginx/templates/nginx.conf.j2", "events", "# \nevents"),
        {"nginx"},
    ),
    "a template that a template includes": (
        lambda s: s.edit("roles/nginx/templates/site.conf.j2", "listen", "listen  "),
        {"nginx"},
    ),
    "a file that a loop copies": (
        lambda s: s.edit("roles/nginx/files/tls.conf", "off", "on"),
        {"nginx"},
    ),
    "a file added": (lambda s: s.write("roles/nginx/files/more.conf", "x"), {"nginx"}),
    "a file deleted": (lambda s: s.path("roles/nginx/vars/trixie.yml").unlink(), {"nginx"}),
    "a file renamed": (
        lambda s: s.path("roles/nginx/vars/trixie.yml").rename(s.path("roles/nginx/vars/sid.yml")),
        {"nginx"},
    ),
    "an executable bit": (lambda s: s.path("roles/app/files/release.sh").chmod(0o755), {"app"}),
    "a file that becomes a link to the same bytes": (
        lambda s: (
            s.path("roles/nginx/files/tls.conf").rename(s.path("roles/nginx/files/real.conf")),
            s.path("roles/nginx/files/tls.conf").symlink_to("real.conf"),
        ),
        {"nginx"},
    ),
    "a dependency's default": (
        lambda s: s.edit("roles/common/defaults/main.yml", "/srv", "/data"),
        {"nginx"},
    ),
    "a dependency's task": (
        lambda s: s.edit("roles/common/tasks/main.yml", "0755", "0750"),
        {"nginx"},
    ),
    "a dependency added": (
        lambda s: s.edit(
            "roles/nginx/meta/main.yml", "role: common", "role: base\n  - role: common"
        ),
        {"nginx"},
    ),
    "a variable of a task": (lambda s: s.set("base_packages", ["curl"]), {"base"}),
    "a variable inside a variable": (lambda s: s.set("base_editor", "nano"), {"base"}),
    "a variable that shadows a default": (lambda s: s.set("base_timezone", "UTC"), {"base"}),
    "a variable of a template": (lambda s: s.set("nginx_worker_connections", 2048), {"nginx"}),
    "a variable through two templates": (lambda s: s.set("team_domain", "example.net"), {"nginx"}),
    "a variable through set_fact": (lambda s: s.set("nginx_address", "127.0.0.1"), {"nginx"}),
    "a variable that is new, through set_fact": (lambda s: s.set("nginx_port", 80), {"nginx"}),
    "a variable of a handler": (lambda s: s.set("nginx_check_options", ""), {"nginx"}),
    "a variable taken away": (lambda s: s.variables.pop("nginx_address"), {"nginx"}),
    "the type of a variable": (lambda s: s.set("nginx_worker_connections", "1024"), {"nginx"}),
    "a member of a mapping": (
        lambda s: s.set("nginx_tls", {"protocols": "TLSv1.2", "tickets": False}),
        {"nginx"},
    ),
    "the items of a loop": (
        lambda s: s.set("hardening_limits", [{"domain": "*", "name": "core", "value": 1}]),
        {"hardening"},
    ),
    "the order of a list": (
        lambda s: s.set("base_packages", ["{{ base_editor }}", "ca-certificates"]),
        {"base"},
    ),
    "the order of a mapping that a template repeats over": (
        lambda s: s.set(
            "hardening_sysctl", {"kernel.kptr_restrict": 2, "kernel.dmesg_restrict": 1}
        ),
        {"hardening"},
    ),
    "a variable that two roles read": (
        lambda s: s.set("common_directory", "/data"),
        {"nginx", "app"},
    ),
    "the suite of the image": (
        lambda s: s.set("kiln_image", {"name": "web", "suite": "trixie", "ports": [8080]}),
        {"nginx"},
    ),
    "a secret": (
        lambda s: s.set("hardening_recovery_hash", "$6$salt$other", secret=True),
        {"hardening"},
    ),
    "a secret inside a value": (_nested, {"app"}),
    "a template that becomes a plain text": (
        lambda s: s.set("site_name", Unsafe("{{ team_domain }}")),
        {"nginx"},
    ),
    "ansible_managed": (lambda s: s.set("ansible_managed", "By hand"), {"hardening"}),
    "the environment of the controller": (
        lambda s: s.environment.update(BAKED_FOR="others"),
        {"nginx"},
    ),
    "a variable of the environment that goes away": (
        lambda s: s.environment.pop("BAKED_FOR"),
        {"nginx"},
    ),
    "a collection's version": (lambda s: s.plugins.update({"team.tools": "1.1.0"}), {"app"}),
    "the version of the core modules": (
        lambda s: s.plugins.update({"ansible.builtin": "2.20"}),
        {"base", "hardening", "nginx", "app"},
    ),
    "a file outside of the role": (
        lambda s: s.edit("images/site/index.html", "site", "new"),
        {"app"},
    ),
    "a file deep in a directory outside of the role": (
        lambda s: s.edit("images/site/img/logo.svg", "svg", "svg "),
        {"app"},
    ),
    "a file added to a directory outside of the role": (
        lambda s: s.write("images/site/robots.txt", "x"),
        {"app"},
    ),
    "an executable bit outside of the role": (
        lambda s: s.path("images/site/index.html").chmod(0o755),
        {"app"},
    ),
    "the directory that a variable names": (
        lambda s: (s.write("images/site2/index.html", "x"), s.set("app_site", "site2")),
        {"app"},
    ),
    "a file that a lookup reads": (
        lambda s: s.edit("images/files/notice.txt", "well", "lost"),
        {"app"},
    ),
    "a file that hides the one a lookup reads": (
        lambda s: s.write("roles/app/files/notice.txt", "All is well.\n"),
        {"app"},
    ),
    "a file that would be found before": (
        lambda s: (
            s.path("images/notice.txt").write_text("All is well.\n"),
            s.path("images/files/notice.txt").unlink(),
        ),
        {"app"},
    ),
    "a script": (lambda s: s.edit("roles/app/files/release.sh", "touch", "touch -c"), {"app"}),
    "a script's argument": (lambda s: s.set("app_version", "2"), {"app"}),
    "an argument of a filter": (lambda s: s.set("app_title", "Good day"), {"app"}),
    "the target of a link to outside": (
        lambda s: (
            s.path("roles/base/files").mkdir(),
            s.path("roles/base/files/page").symlink_to("../../../images/site/index.html"),
        ),
        {"base"},
    ),
    "an empty directory": (lambda s: s.path("roles/app/files/empty").mkdir(), {"app"}),
    "a role's own plugin": (
        lambda s: s.write("roles/base/filter_plugins/words.py", "class FilterModule: ...\n"),
        {"base"},
    ),
    "a file in files/ that looks like a leftover": (
        lambda s: s.write("roles/app/files/old.conf~", "x"),
        {"app"},
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_edit_changes_exactly_its_layers(site: Any, name: str) -> None:
    edit, expected = EDITS[name]
    if name == "a secret inside a value":
        site.set("app_title", {"text": "Welcome", "token": Secret("one")})
    before = site.keys()
    edit(site)
    after = site.keys()
    assert {layer for layer in before if before[layer] != after[layer]} == expected


def test_enough_edits_are_told() -> None:
    assert len(EDITS) >= 40


def test_edit_of_a_layer_changes_every_layer_above(site: Any) -> None:
    before = site.chain()
    site.set("hardening_limits", [])
    after = site.chain()
    assert [name for name in before if before[name] != after[name]] == ["hardening", "nginx", "app"]


def test_every_layer_of_the_site_can_be_cached(site: Any) -> None:
    assert [site.inputs(name).uncacheable for name in LAYERS] == [(), (), (), ()]


def test_mode_bits_count_where_a_task_preserves_them(site: Any) -> None:
    site.edit("roles/app/tasks/main.yml", 'mode: "0644"', "mode: preserve")
    before = site.keys()
    site.path("images/site/index.html").chmod(0o600)
    after = site.keys()
    assert {layer for layer in before if before[layer] != after[layer]} == {"app"}


def test_mode_bits_count_where_a_variable_says_preserve(site: Any) -> None:
    site.edit("roles/app/tasks/main.yml", 'mode: "0644"', 'mode: "{{ app_mode }}"')
    site.set("app_mode", "preserve")
    before = site.keys()
    site.path("images/site/index.html").chmod(0o600)
    assert site.keys()["app"] != before["app"]


def test_retargeted_link_changes_the_key(site: Any) -> None:
    link = site.path("roles/nginx/files/current.conf")
    link.symlink_to("tls.conf")
    before = site.keys()["nginx"]
    link.unlink()
    link.symlink_to("headers.conf")
    assert site.keys()["nginx"] != before


def test_content_behind_a_link_to_outside_counts(site: Any) -> None:
    site.path("roles/base/files").mkdir()
    site.path("roles/base/files/site").symlink_to("../../../images/site")
    before = site.keys()["base"]
    site.edit("images/site/img/logo.svg", "svg", "g")
    assert site.keys()["base"] != before


def test_variable_file_of_a_role_that_tasks_name_counts(role: Any) -> None:
    def analyse(value: str) -> Any:
        return role(
            {"tasks/main.yml": "- ansible.builtin.include_role:\n    name: other\n"},
            beside={"roles/other/vars/main.yml": f"other_level: {value}\n"},
        ).manifest

    assert analyse("1") != analyse("2")


def test_origin_of_a_variable_is_no_part_of_the_key(site: Any) -> None:
    before = site.keys()
    old = site.variables["base_editor"]
    site.variables["base_editor"] = Variable(old.value, origin=site.path("group_vars"), line=7)
    assert site.keys() == before


def test_umask_of_a_link_is_nothing(site: Any) -> None:
    before = site.keys()
    os.utime(site.path("roles/base/tasks/main.yml"), (0, 0))
    assert site.keys() == before
