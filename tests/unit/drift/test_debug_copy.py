# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of an instance to look into."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.drift.debug_copy import (
    Copier,
    Wish,
    plan_copy,
)
from ansible_collections.kiln.immutable.plugins.module_utils.drift.instance import Instance

DOCUMENT: dict[str, Any] = {
    "Id": "c" * 64,
    "Name": "/shop-1",
    "Image": "sha256:1",
    "State": {"Running": True, "Pid": 7},
    "Config": {
        "User": "33",
        "Env": ["TOKEN=hunter2"],
        "Labels": {"io.kiln.group": "shop"},
        "Entrypoint": ["/usr/bin/app", "-x"],
        "Cmd": ["serve"],
    },
    "HostConfig": {
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Tmpfs": {"/run/app": "mode=0750"},
        "PortBindings": {"80/tcp": [{"HostPort": "80"}]},
        "NetworkMode": "kiln-shop",
    },
    "Mounts": [
        {"Type": "volume", "Name": "data", "Destination": "/srv", "RW": True},
        {"Type": "volume", "Name": "secrets", "Destination": "/run/secrets", "RW": False},
    ],
}
INSTANCE = Instance.from_document(DOCUMENT)


class Engine:
    """Notes what it is told; fails what contains *fails*."""

    def __init__(self, fails: str = "nothing") -> None:
        self.told: list[str] = []
        self.variables: dict[str, str] = {}
        self._fails = fails

    def __call__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, **_more: object
    ) -> Completed:
        self.told.append(" ".join(argv[1:]))
        self.variables.update(env or {})
        failed = self._fails in self.told[-1]
        return Completed(int(failed), b"", b"Error: it does not want to" if failed else b"")


def test_a_copy_is_as_hardened_as_its_instance_and_nobody_finds_it() -> None:
    plan = plan_copy(INSTANCE, Wish(until=100.0), "abc")
    options = " ".join(plan.options)
    for wanted in ("--read-only", "--cap-drop ALL", "--security-opt no-new-privileges"):
        assert wanted in options
    assert "--network none" in options
    assert "--tmpfs /run/app:mode=0750" in options
    assert "io.kiln.group" not in options
    assert "--publish" not in options
    assert "kiln-shop" not in options
    assert plan.words == ("-x", "serve")


def test_values_of_the_environment_are_on_no_command_line() -> None:
    engine = Engine()
    Copier("toolbox", runner=engine).make(INSTANCE, Wish(until=100.0))
    assert not any("hunter2" in line for line in engine.told)
    assert engine.variables == {"TOKEN": "hunter2"}


def test_what_is_written_to_is_copied_and_what_is_not_stays_away() -> None:
    engine = Engine()
    made = Copier("toolbox", runner=engine).make(INSTANCE, Wish(until=100.0, pause=True))
    assert set(made.volumes) == {"/srv"}
    words = [line.split()[0] for line in engine.told]
    assert words == ["volume", "pause", "run", "unpause", "run"]
    assert "data:/from:ro" in engine.told[2]
    assert not any("secrets" in line for line in engine.told)


class Freezing(Engine):
    """An engine that cannot freeze a busy instance at the first tries."""

    def __init__(self, *answers: bytes) -> None:
        super().__init__()
        self._answers = list(answers)
        self.seconds = 0.0

    def __call__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, **more: object
    ) -> Completed:
        done = super().__call__(argv, env=env, **more)
        if argv[1] == "pause" and self._answers:
            return Completed(1, b"", self._answers.pop(0))
        return done

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float, /) -> None:
        self.seconds += seconds


BUSY = b"Error response from daemon: OCI runtime pause failed: unable to freeze: unknown"


def test_an_instance_that_is_busy_is_asked_again_to_stand_still() -> None:
    engine = Freezing(BUSY, BUSY)
    Copier("toolbox", runner=engine, clock=engine).make(INSTANCE, Wish(until=1.0, pause=True))
    words = [line.split()[0] for line in engine.told]
    assert words == ["volume", "pause", "pause", "pause", "run", "unpause", "run"]


def test_what_somebody_else_has_stand_still_stays_so() -> None:
    engine = Freezing(b"Container 1 is already paused")
    Copier("toolbox", runner=engine, clock=engine).make(INSTANCE, Wish(until=1.0, pause=True))
    assert not any(line.startswith("unpause") for line in engine.told)


def test_nothing_is_copied_of_an_instance_that_never_stands_still() -> None:
    engine = Freezing(*[BUSY] * 1000)
    with pytest.raises(DriverError, match="the instance to stand still, in vain"):
        Copier("toolbox", runner=engine, clock=engine).make(INSTANCE, Wish(until=1.0, pause=True))
    assert not any("--archive" in line for line in engine.told)


@pytest.mark.parametrize("fails", ["volume create", "--archive", "run --detach"])
def test_a_copy_that_fails_leaves_nothing(fails: str) -> None:
    engine = Engine(fails)
    with pytest.raises(DriverError):
        Copier("toolbox", runner=engine).make(INSTANCE, Wish(until=100.0, pause=True))
    assert engine.told[-2].startswith("rm --force")
    assert engine.told[-1].startswith("volume rm --force")
    paused = [line for line in engine.told if line.startswith("pause")]
    assert len(paused) == sum(line.startswith("unpause") for line in engine.told)


def test_a_copy_may_run_something_else() -> None:
    plan = plan_copy(INSTANCE, Wish(until=1.0, command=("sleep", "infinity")), "abc")
    assert "--entrypoint sleep" in " ".join(plan.options)
    assert plan.words == ("infinity",)


def test_no_copy_gets_a_network_that_leads_outside() -> None:
    with pytest.raises(DriverError, match="none, internal"):
        plan_copy(INSTANCE, Wish(until=1.0, network="bridge"), "abc")


def test_only_what_is_over_its_time_is_removed() -> None:
    def copy(name: str, until: str) -> dict[str, Any]:
        labels = {"io.kiln.debug": "shop-1", "io.kiln.debug.until": until}
        mounts = [{"Name": f"{name}-0", "Destination": "/srv"}, {"Name": "x", "Destination": "/y"}]
        return {
            **DOCUMENT,
            "Name": f"/{name}",
            "Config": {"Labels": labels},
            "Mounts": mounts,
        }

    documents = [copy("shop-1-debug-a", "50"), copy("shop-1-debug-b", "150")]

    def runner(argv: Sequence[str], **_more: object) -> Completed:
        if "inspect" in argv:
            return Completed(0, json.dumps(documents).encode(), b"")
        return Completed(0, b"a\nb\n", b"")

    (over,) = Copier("", runner=runner).expired(100.0)
    assert over.name == "shop-1-debug-a"
    assert over.volumes == {"/srv": "shop-1-debug-a-0"}
