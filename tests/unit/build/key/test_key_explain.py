# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words that tell why a key changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.key.changes import explain

CASES: dict[str, tuple[str, Callable[[Any], object], list[str]]] = {
    "variable": (
        "nginx",
        lambda s: s.set("nginx_worker_connections", 2048),
        ["variable nginx_worker_connections 1024 -> 2048"],
    ),
    "text": (
        "nginx",
        lambda s: s.set("team_domain", "example.net"),
        ["variable team_domain www.example.org -> example.net"],
    ),
    "type": (
        "nginx",
        lambda s: s.set("nginx_worker_connections", "1024"),
        ['variable nginx_worker_connections 1024 -> "1024"'],
    ),
    "secret": (
        "hardening",
        lambda s: s.set("hardening_recovery_hash", "x", secret=True),
        ["variable hardening_recovery_hash changed"],
    ),
    "file": (
        "nginx",
        lambda s: s.edit("roles/nginx/templates/site.conf.j2", "listen", "LISTEN"),
        ["file templates/site.conf.j2 changed"],
    ),
    "mode": (
        "app",
        lambda s: s.path("roles/app/files/release.sh").chmod(0o755),
        ["file files/release.sh changed mode 0644 -> 0755"],
    ),
    "deleted": (
        "nginx",
        lambda s: s.path("roles/nginx/vars/trixie.yml").unlink(),
        ["file vars/trixie.yml removed"],
    ),
    "dependency": (
        "nginx",
        lambda s: s.edit("roles/common/defaults/main.yml", "/srv", "/data"),
        ["role common: file defaults/main.yml changed"],
    ),
    "outside": (
        "app",
        lambda s: s.write("images/site/robots.txt", "x"),
        ["outside file definition:site/robots.txt added"],
    ),
    "environment": (
        "nginx",
        lambda s: s.environment.update(BAKED_FOR="us"),
        ["environment variable BAKED_FOR team -> us"],
    ),
    "collection": (
        "app",
        lambda s: s.plugins.update({"team.tools": "1.1.0"}),
        [
            "plugin team.tools.headline 1.0.0 -> 1.1.0",
            "plugin team.tools.site_index 1.0.0 -> 1.1.0",
        ],
    ),
    "new variable": (
        "base",
        lambda s: s.set("base_timezone", "UTC"),
        ["variable base_timezone added"],
    ),
    "order": (
        "hardening",
        lambda s: s.set(
            "hardening_sysctl", dict(reversed(s.variables["hardening_sysctl"].value.items()))
        ),
        ["order of the keys in variable hardening_sysctl changed"],
    ),
    "nothing": ("base", lambda s: s.set("unrelated", 1), []),
}


@pytest.mark.parametrize("name", CASES)
def test_change_is_told(site: Any, name: str) -> None:
    layer, edit, expected = CASES[name]
    before = site.inputs(layer).manifest
    edit(site)
    assert list(explain(before, site.inputs(layer).manifest)) == expected
