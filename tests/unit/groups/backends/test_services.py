# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Swarm is told of an instance, and what its tasks mean."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.services import (
    instance_of,
    refuse_unkept,
    secret_option,
    service_options,
    task_of,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    GroupDefinition,
    GroupPort,
    HealthCheck,
    ImageChoice,
    Reference,
    Secret,
    Volume,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import (
    Fault,
    Health,
    Life,
    Release,
    Start,
)

RELEASE = Release("web", "1.0.3", "sha256:" + "3" * 64, "kiln/web:1.0.3")
HTTP, ENGINE = HealthCheck("http", port=8080), HealthCheck("engine")
GROUP = GroupDefinition(
    "web", ImageChoice("web", version="1.0.3"), 2, ports=(GroupPort(8080, 80),), health=(HTTP,)
)


def options(group: GroupDefinition = GROUP, image_labels: dict[str, str] | None = None) -> str:
    start = Start("web-1a2b3c", RELEASE)
    return " ".join(service_options(group, start, (20001,), image_labels or {}, "nfs"))


def test_an_instance_is_a_service_of_one_task_with_a_port_of_its_node() -> None:
    found = options()
    assert "--replicas 1" in found
    assert "--publish mode=host,target=8080,published=20001" in found
    assert "--read-only --cap-drop ALL --limit-pids 512" in found


def test_declared_memory_is_open_or_begins_as_the_images_folder() -> None:
    paths = ("/run/nginx", "/var/cache/nginx")
    state = json.dumps([{"path": path, "kind": "tmpfs", "owner": "33:33"} for path in paths])
    found = options(image_labels={"io.kiln.state": state})
    assert "--mount type=tmpfs,destination=/run/nginx,tmpfs-mode=1777" in found
    # Swarm's tmpfs has no owner, and takes the mode of the folder that it covers.
    assert "--mount type=volume,destination=/var/cache/nginx" in found


def test_a_shared_volume_needs_a_driver_that_all_nodes_have() -> None:
    group = replace(GROUP, volumes=(Volume("all", "/srv/a", "shared"),))
    with pytest.raises(DriverError, match=r"volumes\[0\].*volume_driver"):
        refuse_unkept(group, "")
    refuse_unkept(group, "nfs")
    assert "source=kiln-web-all,destination=/srv/a,volume-driver=nfs" in options(group)


def test_a_secret_keeps_its_owner_and_mode() -> None:
    secret = Secret("db", Reference("env", "DB"), "/run/secrets/db", "33:33", "0440")
    expected = "source=web-1-db,target=/run/secrets/db,uid=33,gid=33,mode=0440"
    assert secret_option("web-1-db", secret) == expected


def task(state: str, *, at: int = 0, error: str = "", **status: Any) -> dict[str, Any]:
    """Return a task as Swarm tells of it."""
    return {
        "CreatedAt": f"2026-11-21T17:35:{at:02d}.6Z",
        "NodeID": "n1",
        "Status": {"State": state, "Err": error, **status},
    }


def test_the_newest_task_counts_and_those_before_are_restarts() -> None:
    found = task_of([task("running", at=9), task("failed", at=1, error="exit status 7")])
    assert found is not None
    assert (found.state, found.restarts, found.said) == ("running", 1, "exit status 7")
    assert task_of([]) is None


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ('exec: "nope": executable file not found in path', Fault.RELEASE),
        ("task: non-zero exit (7)", Fault.RELEASE),
        ("No such image: kiln/web:1.0.3", Fault.PLATFORM),
        ("no suitable node (host-mode port already in use on 1 node)", Fault.PLATFORM),
    ],
)
def test_the_release_and_the_platform_are_told_apart(said: str, fault: Fault) -> None:
    found = task_of([task("rejected", error=said)])
    assert found is not None
    assert found.fault is fault


SERVICE = {
    "CreatedAt": "2026-11-21T17:28:47.325544186Z",
    "Spec": {
        "Labels": {
            "io.kiln.instance": "web-1a2b3c",
            "io.kiln.version": "1.0.3",
            "io.kiln.digest": RELEASE.digest,
            "io.kiln.settings": "sha256:s",
            "io.kiln.tainted": "drifted",
        }
    },
}


@pytest.mark.parametrize(
    ("state", "life", "health"),
    [
        ("pending", Life.STARTING, Health.UNKNOWN),
        ("preparing", Life.STARTING, Health.UNKNOWN),
        ("starting", Life.RUNNING, Health.UNKNOWN),
        ("running", Life.RUNNING, Health.PASSING),
        ("failed", Life.STARTING, Health.FAILING),
        ("rejected", Life.STARTING, Health.FAILING),
        ("shutdown", Life.STOPPED, Health.FAILING),
    ],
)
def test_swarm_says_running_when_the_engines_check_passes(
    state: str, life: Life, health: Health
) -> None:
    one = instance_of(SERVICE, task_of([task(state)]), (ENGINE,))
    assert (one.life, one.health) == (life, health)


def test_without_a_check_of_the_engines_the_balancer_decides() -> None:
    assert instance_of(SERVICE, task_of([task("starting")]), (HTTP,)).health is Health.PASSING


def test_a_service_without_a_task_is_starting_and_its_taint_is_known() -> None:
    one = instance_of(SERVICE, None, (HTTP,))
    assert (one.life, one.tainted) == (Life.STARTING, "drifted")
