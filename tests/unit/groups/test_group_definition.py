# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Group definitions: what they say by default, and a sentence with its line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition import (
    from_values,
    load,
    with_image,
    with_size,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import Capabilities
from ansible_collections.kiln.immutable.plugins.module_utils.groups.policy import (
    Amount,
    Bounds,
    Policy,
    Strategy,
    bounds,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.refusal import refuse

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples" / "groups").glob("*.yml"))
HEAD = "image: {name: web, channel: prod}\nsize: 3\n"

# What is wrong, the definition below the head, and the message without the file's name.
BAD = [
    ("an unknown key", "polcy: {}\n", "3: polcy is not a known key; did you mean policy?"),
    (
        "a deadline without its unit",
        "policy: {deadline: 5}\n",
        (
            "3: policy.deadline is 5; it must be a duration with its unit, such as 30s, 1m30s or "
            "500ms."
        ),
    ),
    (
        "a percentage above all",
        "policy: {max_surge: 120%}\n",
        "3: policy.max_surge is 120%; it must be at most 100%.",
    ),
    (
        "a rotation that can never begin",
        "policy: {max_surge: 0, max_unavailable: 0}\n",
        (
            "3: policy.max_surge is 0 and so is max_unavailable: nothing could ever be replaced; "
            "raise one of them."
        ),
    ),
    (
        "an exclusive volume that may not be missing",
        "volumes: [{name: data, path: /data}]\npolicy: {max_unavailable: 0}\n",
        (
            "4: policy.max_unavailable lets no instance be missing, but an exclusive volume is "
            "handed over stop-first; give max_unavailable of 1 or more, or share the volume."
        ),
    ),
    (
        "a canary without steps",
        "policy: {strategy: canary}\n",
        "3: policy is canary without steps; give some, such as [{weight: 10, pause: 5m}].",
    ),
    (
        "steps that go back",
        "policy:\n  strategy: canary\n  steps:\n  - {weight: 20}\n  - {weight: 10}\n",
        "7: policy.steps[1] has weight 10; each step's is above the one before.",
    ),
    (
        "waits that the deadline does not allow",
        "policy: {bake_time: 20m, deadline: 10m}\n",
        (
            "3: policy.deadline gives 600 s to rotations that wait 1200 s in bake_time and steps "
            "alone; give a longer deadline."
        ),
    ),
    (
        "a hook that does not say what it does to the state",
        "hooks: [{name: migrate, when: before, command: [./migrate]}]\n",
        (
            "3: hooks[0].phase is missing; it must be expand (the old version still works "
            "afterwards) or contract (it does not)."
        ),
    ),
    (
        "a value in two places",
        "environment: {A: {env: A, file: a}}\n",
        "3: environment.A must say in one way where the value is: env, file or command.",
    ),
    (
        "a gate that asks nobody",
        "policy: {gates: [{name: errors, kind: prometheus}]}\n",
        "3: policy.gates[0] is a gate of Prometheus without url and query; give both.",
    ),
    (
        "a check without a port",
        "health: [{kind: tcp}]\n",
        "3: health[0] has no port, and the group declares none; give one.",
    ),
]


@pytest.mark.parametrize(
    ("text", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_a_bad_definition_is_told_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text(HEAD + text, "utf-8")
    with pytest.raises(DriverError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:{message}"


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text("image: {name: web}\nsize: many\n", "utf-8")
    with pytest.raises(DriverError) as caught:
        load(path)
    assert str(caught.value).splitlines() == [
        f"{path}:1: image has none of channel, version and digest; give exactly one.",
        f"{path}:2: size is the text many; it must be a whole number.",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_says_the_same_as_parameters_of_a_module(path: Path) -> None:
    definition = load(path)
    assert from_values(definition.document) == definition


def test_parameters_are_told_without_lines() -> None:
    with pytest.raises(DriverError, match=r"^group: size is missing; say how many instances"):
        from_values({"name": "web", "image": {"name": "web", "version": "1.0.0"}}, "group")


def test_instances_are_hardened_unless_the_definition_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text(HEAD, "utf-8")
    definition = load(path)
    assert definition.name == "web"
    assert definition.hardening.read_only
    assert definition.hardening.no_new_privileges
    assert definition.hardening.drop == ("ALL",)
    assert definition.resources.pids == 512
    assert not definition.stop_first


def test_what_an_instance_is_started_with_changes_its_settings_and_the_policy_does_not() -> None:
    values = {"name": "web", "image": {"name": "web", "channel": "prod"}, "size": 3}
    settings = from_values(values).settings
    assert from_values({**values, "size": 4, "policy": {"max_surge": 2}}).settings == settings
    assert with_size(from_values(values), 9).settings == settings
    assert with_image(from_values(values), version="1.0.0").settings == settings
    assert from_values({**values, "environment": {"TZ": "UTC"}}).settings != settings
    assert from_values({**values, "resources": {"memory": "1g"}}).settings != settings


def test_percentages_never_make_the_service_smaller_by_rounding() -> None:
    policy = Policy(max_surge=Amount(25, percent=True), max_unavailable=Amount(25, percent=True))
    assert bounds(policy, 6, stop_first=False) == Bounds(size=6, surge=2, floor=5, batch=3)
    assert bounds(policy, 6, stop_first=True) == Bounds(size=6, surge=0, floor=5, batch=1)


def test_blue_and_green_run_side_by_side() -> None:
    policy = Policy(strategy=Strategy.BLUE_GREEN)
    assert bounds(policy, 4, stop_first=False).most == 8


def test_what_a_backend_cannot_honour_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text(
        HEAD + "policy:\n  strategy: canary\n  steps: [{weight: 10}]\nbackend: {hosts: [a, b]}\n",
        "utf-8",
    )
    with pytest.raises(DriverError) as caught:
        refuse(load(path), Capabilities("plain", weights=False))
    assert str(caught.value).splitlines() == [
        (
            f"{path}:4: policy.strategy is canary, and the backend plain cannot give instances a "
            "part of the traffic."
        ),
        f"{path}:6: backend.hosts has 2, and the backend plain takes one.",
    ]
