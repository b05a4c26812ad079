# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine knows of a sealed image: what its definition says, and no more."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import (
    Definition,
)

testinfra_hosts = ["ansible://as_service"]

Config = dict[str, Any]


@pytest.fixture
def image(inspected: Callable[[], dict[str, Any]]) -> str:
    """Return the name that the container's image was started by."""
    return str(inspected()["Config"]["Image"])


@pytest.fixture
def config(docker: Callable[..., str], image: str) -> Config:
    """Return the configuration of the container's image."""
    found: Config = json.loads(docker("image", "inspect", image))[0]["Config"]
    return found


def test_it_runs_as_the_user_of_the_definition(config: Config, definition: Definition) -> None:
    assert config["User"] == definition.config.user


def test_it_runs_the_program_of_the_definition(config: Config, definition: Definition) -> None:
    wanted = [definition.config.entrypoint, definition.config.cmd]
    assert [config["Entrypoint"], config["Cmd"]] == [list(x) if x else None for x in wanted]


def test_it_sets_the_environment_of_the_definition(config: Config, definition: Definition) -> None:
    wanted = [f"{name}={value}" for name, value in definition.config.env.items()]
    assert (config["Env"] or []) == wanted


def test_it_works_in_the_directory_of_the_definition(
    config: Config, definition: Definition
) -> None:
    assert config["WorkingDir"] == definition.config.working_dir


def test_it_stops_on_the_signal_of_the_definition(config: Config, definition: Definition) -> None:
    assert config.get("StopSignal", "") == definition.config.stop_signal


def test_it_exposes_the_ports_of_the_definition(config: Config, definition: Definition) -> None:
    assert set(config.get("ExposedPorts") or {}) == {str(port) for port in definition.config.ports}


def test_it_has_the_volumes_of_the_definition(config: Config, definition: Definition) -> None:
    state = [entry.path for entry in definition.state if entry.kind == "volume"]
    assert set(config["Volumes"] or {}) == {*definition.config.volumes, *state}


def test_it_is_asked_for_its_health_as_the_definition_says(
    config: Config, definition: Definition
) -> None:
    wanted = definition.config.healthcheck
    assert wanted is not None
    assert config["Healthcheck"] == {
        "Test": list(wanted.test),
        "Interval": wanted.interval,
        "Timeout": wanted.timeout,
        "StartPeriod": wanted.start_period,
        "Retries": wanted.retries,
    }


def test_its_labels_say_what_it_is(config: Config, definition: Definition) -> None:
    labels = config["Labels"]
    assert labels["io.kiln.image"] == definition.name
    assert labels["org.opencontainers.image.title"] == definition.name
    assert labels.get("org.opencontainers.image.description", "") == definition.description
    assert {name: labels.get(name) for name in definition.config.labels} == definition.config.labels


def test_its_labels_say_what_state_it_needs(config: Config, definition: Definition) -> None:
    assert json.loads(config["Labels"].get("io.kiln.state", "[]")) == [
        {"path": state.path, "kind": state.kind, "owner": state.owner, "mode": state.mode}
        for state in definition.state
    ]


def test_baking_its_definition_again_has_nothing_to_do(image: str, definition: Definition) -> None:
    command = ["ansible-playbook", "-i", "localhost,", "kiln.immutable.bake"]
    command += ["-e", json.dumps({"kiln_images": str(definition.path)})]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    version = image.partition(":")[2]
    assert f"\n{definition.name} {version}: nothing to do.\n" in done.stdout
    assert "TASK [Open the build container]" not in done.stdout
