# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an instance's container may do, and what its inspection tells."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.instances import (
    Address,
    create_options,
    has_check,
    instance_of,
    refuse_impossible,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    GroupDefinition,
    GroupPort,
    Hardening,
    HealthCheck,
    ImageChoice,
    Resources,
    Volume,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import (
    Health,
    Life,
    Release,
    Start,
)

RELEASE = Release("web", "1.0.3", "sha256:" + "3" * 64, "kiln/web:1.0.3")
HTTP = HealthCheck("http", port=8080)
ENGINE = HealthCheck("engine")
COMMAND = HealthCheck("command", command=("/bin/check", "a b"), healthy=2, unhealthy=4)
GROUP = GroupDefinition(
    "web",
    ImageChoice("web", version="1.0.3"),
    2,
    ports=(GroupPort(8080, 80), GroupPort(9090)),
    health=(HTTP,),
)
DIRECT = Address("172.18.128.4", (8080, 9090))


def options(
    group: GroupDefinition = GROUP,
    address: Address = DIRECT,
    slot: int | None = None,
    image_labels: dict[str, str] | None = None,
) -> str:
    start = Start("web-1a2b3c", RELEASE, slot)
    return " ".join(create_options(group, start, address, "kiln-web", image_labels or {}))


def test_an_instance_may_do_nothing_that_was_not_asked_for() -> None:
    found = options()
    for expected in (
        "--read-only",
        "--cap-drop ALL",
        "--security-opt no-new-privileges",
        "--pids-limit 512",
        "--no-healthcheck",
    ):
        assert expected in found
    assert "--publish" not in found


def test_a_definition_can_loosen_each_of_them() -> None:
    loose = Hardening(False, False, ("NET_RAW",), ("NET_BIND_SERVICE",), ("/run",), "1000:1000")
    limits = Resources(memory=64 << 20, cpus=0.5, pids=10)
    found = options(replace(GROUP, hardening=loose, resources=limits))
    assert "--read-only" not in found
    assert "no-new-privileges" not in found
    assert "--cap-drop NET_RAW --cap-add NET_BIND_SERVICE --user 1000:1000" in found
    assert "--pids-limit 10 --memory 67108864 --memory-swap 67108864 --cpus 0.5" in found
    assert "--tmpfs /run" in found


def test_an_instance_says_what_it_was_started_from() -> None:
    found = options(slot=1)
    for label in (
        "group=web",
        "instance=web-1a2b3c",
        "version=1.0.3",
        f"digest={RELEASE.digest}",
        f"settings={GROUP.settings}",
        "slot=1",
    ):
        assert f"--label io.kiln.{label}" in found


def test_with_several_engines_its_ports_are_the_hosts() -> None:
    found = options(address=Address("10.0.0.7", (20001, 20002), published=True))
    assert "--publish 20001:8080 --publish 20002:9090" in found
    assert "--ip" not in found


def test_what_the_image_declares_as_memory_has_its_owner() -> None:
    state = [
        {"path": "/run/nginx", "kind": "tmpfs", "owner": "33:33", "mode": "0750"},
        {"path": "/srv/data", "kind": "volume"},
    ]
    found = options(image_labels={"io.kiln.state": json.dumps(state)})
    assert "--tmpfs /run/nginx:uid=33,gid=33,mode=0750" in found
    assert "/srv/data" not in found


def test_an_exclusive_volume_is_that_of_the_slot() -> None:
    group = replace(GROUP, volumes=(Volume("data", "/srv/data"), Volume("all", "/srv/a", "shared")))
    found = options(group, slot=1)
    assert "--volume kiln-web-data-1:/srv/data" in found
    assert "--volume kiln-web-all:/srv/a" in found
    with pytest.raises(DriverError, match="needs a slot"):
        options(group)


def test_a_command_is_checked_by_the_engine() -> None:
    found = options(replace(GROUP, health=(COMMAND,)))
    assert "--health-cmd /bin/check 'a b' --health-interval 2000ms" in found
    assert "--health-retries 4" in found


def test_checks_that_no_engine_does_are_refused() -> None:
    with pytest.raises(DriverError, match="engine and command"):
        refuse_impossible(replace(GROUP, health=(ENGINE, COMMAND)))
    with pytest.raises(DriverError, match="without a published port"):
        refuse_impossible(replace(GROUP, ports=(GroupPort(8080),)))
    refuse_impossible(replace(GROUP, ports=(), health=(ENGINE,)))


def inspected(**state: Any) -> dict[str, Any]:
    """Return what the engine says of a container that runs."""
    return {
        "Created": "2026-11-21T17:28:47.325544186Z",
        "RestartCount": 0,
        "Config": {
            "Labels": {
                "io.kiln.instance": "web-1a2b3c",
                "io.kiln.version": "1.0.3",
                "io.kiln.digest": RELEASE.digest,
                "io.kiln.settings": "sha256:s",
                "io.kiln.slot": "1",
            }
        },
        "State": {"Status": "running", "Running": True, "ExitCode": 0, **state},
    }


def checked(status: str, *codes: int) -> dict[str, Any]:
    """Return the health that the engine keeps, the last results last."""
    return {"Status": status, "Log": [{"ExitCode": code, "Output": "no\n"} for code in codes]}


def test_a_container_that_runs_is_what_its_labels_say() -> None:
    one = instance_of(inspected(), (HTTP,))
    assert (one.id, one.version, one.slot, one.life) == ("web-1a2b3c", "1.0.3", 1, Life.RUNNING)
    assert one.created == pytest.approx(1795282127.325544)


@pytest.mark.parametrize(
    ("status", "life"),
    [
        ("created", Life.STARTING),
        ("restarting", Life.STARTING),
        ("exited", Life.STOPPED),
        ("dead", Life.STOPPED),
    ],
)
def test_a_container_that_does_not_run_is_not_healthy(status: str, life: Life) -> None:
    one = instance_of(inspected(Status=status, Running=False, ExitCode=7), (HTTP,))
    assert (one.life, one.health, one.exit_status) == (life, Health.FAILING, 7)


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (None, Health.UNKNOWN),
        (checked("starting"), Health.UNKNOWN),
        (checked("healthy", 0), Health.PASSING),
        (checked("unhealthy", 1, 1, 1), Health.FAILING),
    ],
)
def test_the_engines_own_check_counts_as_the_engine_says(
    health: dict[str, Any] | None, expected: Health
) -> None:
    state = {} if health is None else {"Health": health}
    assert instance_of(inspected(**state), (ENGINE,)).health is expected


def test_a_command_must_pass_as_often_as_asked() -> None:
    once = instance_of(inspected(Health=checked("healthy", 1, 0)), (COMMAND,))
    twice = instance_of(inspected(Health=checked("healthy", 1, 0, 0)), (COMMAND,))
    assert (once.health, twice.health) == (Health.UNKNOWN, Health.PASSING)


def test_what_went_wrong_is_told() -> None:
    failing = instance_of(inspected(Health=checked("starting", 1)), (ENGINE,))
    assert failing.detail == "health check: no"
    killed = instance_of(inspected(OOMKilled=True, Running=False, Status="exited"), (ENGINE,))
    assert "more memory" in killed.detail


@pytest.mark.parametrize(
    ("config", "has"),
    [
        ({"Healthcheck": {"Test": ["CMD", "check"]}}, True),
        ({"Healthcheck": {"Test": ["NONE"]}}, False),
        ({"Healthcheck": {"Interval": 5}}, False),
        ({}, False),
        (None, False),
    ],
)
def test_an_image_whose_check_is_none_has_no_check(config: object, *, has: bool) -> None:
    assert has_check({"Config": config}) is has
