# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the instances of a group should be, and which of them are marked."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.kiln.immutable.plugins.module_utils.drift.comparison import Expectation
from ansible_collections.kiln.immutable.plugins.module_utils.drift.findings import (
    Finding,
    Kind,
    judge,
)
from ansible_collections.kiln.immutable.plugins.module_utils.drift.instance import Instance
from ansible_collections.kiln.immutable.plugins.module_utils.drift.manifest import Manifest
from ansible_collections.kiln.immutable.plugins.module_utils.drift.settings import (
    ENGINE_PATH,
    SAFE,
    compare_settings,
    image_settings,
    observed_settings,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups import model
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition import from_values
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import Life
from ansible_collections.kiln.immutable.plugins.plugin_utils.group_drift import plan_taints
from ansible_collections.kiln.immutable.plugins.plugin_utils.group_expectation import (
    group_rules,
    of_group,
    other_definition,
)

VALUES: dict[str, Any] = {
    "name": "shop",
    "image": {"name": "web", "channel": "prod"},
    "size": 2,
    "ports": [{"container": 8080, "published": 80}],
    "volumes": [{"name": "data", "path": "/srv/data"}],
    "environment": {"MODE": "prod", "TOKEN": {"env": "TOKEN"}},
    "secrets": [{"name": "db", "from": {"file": "db.password"}}],
    "resources": {"memory": "256m", "cpus": 1.5},
    "hardening": {"tmpfs": ["/tmp"]},
    "health": [{"kind": "http", "path": "/"}],
    "drift": {"ignore": [{"file": "/var/*.pid", "reason": "the app writes it"}]},
}
GROUP = from_values(VALUES)
IMAGE = {
    "User": "www-data",
    "Labels": {"io.kiln.state": json.dumps([{"path": "/run/nginx", "kind": "tmpfs"}])},
    "Volumes": {"/srv/cache": {}},
}
DOCUMENT: dict[str, Any] = {
    "Id": "c",
    "Name": "/shop-1",
    "Image": "sha256:1",
    "State": {"Running": True, "Pid": 7},
    "Config": {
        "User": "www-data",
        "Env": ["MODE=prod", "TOKEN=secret", f"PATH={ENGINE_PATH}"],
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {"io.kiln.instance": "shop-1"},
    },
    "HostConfig": {
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Memory": 256 << 20,
        "NanoCpus": 1_500_000_000,
        "PidsLimit": 512,
        "RestartPolicy": {"Name": "unless-stopped"},
        "Tmpfs": {"/tmp": "", "/run/nginx": "mode=0755"},
    },
    "Mounts": [
        {"Type": "volume", "Name": "kiln-shop-data-3", "Destination": "/srv/data", "RW": True},
        {"Type": "volume", "Name": "shop-1-secrets-0", "Destination": "/run/secrets"},
        {"Type": "volume", "Name": "a" * 64, "Destination": "/srv/cache", "RW": True},
    ],
    "NetworkSettings": {"Networks": {"kiln-shop": {}}},
}

MEMBER = model.Instance("shop-1", "1.0.1", "sha256:1", GROUP.settings, Life.RUNNING, slot=3)


def differences(document: dict[str, Any]) -> list[str]:
    """Return the settings of a container that are not the group's."""
    instance = Instance.from_document(document)
    plain = Expectation(
        "web 1", Manifest({}, {}), frozenset(), settings={**SAFE, **image_settings(IMAGE)}
    )
    expected = of_group(plain, GROUP, MEMBER, instance, IMAGE)
    assert expected.state >= {"srv/data", "run/secrets", "run/nginx", "tmp"}
    observed = observed_settings(document)
    found = compare_settings(
        expected.settings, observed, whole_environment=expected.whole_environment
    )
    return [one.subject for one in found]


def test_an_instance_that_the_group_started_has_its_settings() -> None:
    assert differences(DOCUMENT) == []


def test_each_setting_of_the_definition_is_compared() -> None:
    host = {**DOCUMENT["HostConfig"], "Memory": 0, "ReadonlyRootfs": False, "CapDrop": []}
    host |= {"SecurityOpt": [], "PidsLimit": 0, "NanoCpus": 0, "Tmpfs": {}}
    config = {**DOCUMENT["Config"], "User": "root", "Env": ["MODE=test", "PATH=x", "LD_PRELOAD=/x"]}
    volumes = [{"Type": "bind", "Source": "/etc", "Destination": "/srv/data"}]
    networks: dict[str, Any] = {"Networks": {"kiln-shop": {}, "bridge": {}}}
    changed = {**DOCUMENT, "HostConfig": host, "Config": config, "Mounts": volumes}
    changed["NetworkSettings"] = networks
    assert set(differences(changed)) == {
        *("memory", "read_only", "cap_drop", "security_opt", "pids_limit", "cpus", "tmpfs"),
        *("user", "env.MODE", "env.TOKEN", "env.PATH", "env.LD_PRELOAD", "volumes", "networks"),
    }


def test_rules_of_the_definition_count() -> None:
    (rule,) = group_rules(GROUP)
    assert rule.covers(Finding(Kind.FILE, "/var/x.pid", "added"))


def test_an_instance_of_an_older_definition_is_told() -> None:
    assert other_definition(GROUP, MEMBER) == []
    moved = from_values({**VALUES, "environment": {"MODE": "test"}})
    (one,) = other_definition(moved, MEMBER)
    assert one.subject == "definition"


def test_what_drifted_is_marked_and_a_mark_of_others_stays() -> None:
    file = [Finding(Kind.FILE, "/x", "added")]
    reports = {
        "one": judge("one", "web 1", file, ()),
        "two": judge("two", "web 1", [], ()),
        "three": judge("three", "web 1", file, ()),
        "four": judge("four", "web 1", [], ()),
        "five": judge("five", "web 1", file, ()),
    }
    tainted = {"two": "drifted: 3 files", "three": "Ann wants it", "five": "drifted: 1 file"}
    assert plan_taints(reports, tainted) == {"one": "drifted: 1 file", "two": ""}
