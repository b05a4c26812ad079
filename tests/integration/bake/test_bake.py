# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Baking: what runs, what does not and why, and what comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_a_second_bake_has_nothing_to_do(team: Any) -> None:
    name = team.name()
    team.image(name, team.file_role())
    first = team.bake()
    assert name in first.hosts
    assert first.layers_run == ["app", "seal"]
    assert f"kiln/{name}:1.0.1 (in the engine)" in first.output
    assert team.cat(name, "/srv/app") == "one"
    second = team.bake()
    assert f"{name} 1.0.1: nothing to do." in second.output
    assert second.hosts <= {"localhost"}
    assert second.layers_run == []
    assert "changed=0" in second.output
    assert team.numbers(name) == ["1.0.1"]


def test_a_changed_variable_runs_its_layer_and_those_after_it(team: Any) -> None:
    name = team.name()
    roles = [team.file_role("first"), team.file_role("second"), team.file_role("third")]
    team.image(name, *roles)
    team.bake()
    team.image(name, roles[0], {"role": roles[1], "vars": {"second_text": "two"}}, roles[2])
    again = team.bake()
    assert again.layers_run == ["second", "third", "seal"]
    assert f"{name}: second: " in again.output
    assert "second_text" in again.output
    assert team.cat(name, "/srv/second", "1.0.2") == "two"
    team.image(name, *roles)
    back = team.bake()
    assert f"{name} 1.0.1: nothing to do." in back.output
    assert team.numbers(name) == ["1.0.1", "1.0.2"]


@pytest.mark.usefixtures("plain_role_ran")
def test_a_changed_configuration_runs_no_role(team: Any) -> None:
    name, role = team.name(), team.file_role()
    team.image(name, role)
    team.bake()
    team.image(name, role, config={"env": {"A": "1"}})
    again = team.bake()
    assert f"{name}: its configuration changed" in again.output
    assert again.layers_run == []
    assert team.inspect(name, "1.0.2")["Config"]["Env"] == ["A=1"]
    layers = [team.inspect(name, number)["RootFS"] for number in ("1.0.1", "1.0.2")]
    assert layers[0] == layers[1]


@pytest.mark.usefixtures("plain_role_ran")
def test_an_image_that_left_the_engine_is_loaded_again(
    team: Any, docker: Callable[..., str]
) -> None:
    name = team.name()
    team.image(name, team.file_role())
    team.bake()
    docker("image", "rm", f"kiln/{name}:1.0.1")
    again = team.bake()
    assert f"{name}: version 1.0.1 is in the store, but not in the engine" in again.output
    assert again.layers_run == []
    assert team.numbers(name) == ["1.0.1"]
    assert team.cat(name, "/srv/app") == "one"


@pytest.mark.usefixtures("plain_role_ran")
def test_check_mode_says_what_it_would_build_and_why_and_builds_nothing(team: Any) -> None:
    name, role = team.name(), team.file_role()
    team.image(name, role)
    checked = team.bake("--check")
    assert f"{name}: it was not baked here before" in checked.output
    assert name not in checked.hosts
    assert not (team.home / "catalog").exists()
    assert team.sessions() == []
    team.bake()
    team.image(name, {"role": role, "vars": {"app_text": "two"}})
    checked = team.bake("--check", "--diff")
    assert "app_text" in checked.output
    assert team.numbers(name) == ["1.0.1"]
    assert checked.layers_run == []


def inventory(team: Any) -> list[str]:
    (team.folder / "kiln.images.yml").write_text("plugin: kiln.immutable.images\npaths: [images]\n")
    return ["-i", str(team.folder / "kiln.images.yml")]


@pytest.mark.usefixtures("plain_role_ran")
def test_images_are_hosts_of_an_inventory(team: Any) -> None:
    one, other, role = team.name("one"), team.name("other"), team.file_role()
    team.image(one, role)
    team.image(other, role)
    (team.folder / "host_vars").mkdir()
    (team.folder / "host_vars" / f"{one}.yml").write_text("app_text: of one\n")
    team.bake(*inventory(team), "--limit", one, images=None)
    assert team.numbers(one) == ["1.0.1"]
    assert team.numbers(other) == []
    assert team.cat(one, "/srv/app") == "of one"
    both = team.bake(*inventory(team), images=None)
    assert f"{one} 1.0.1: nothing to do." in both.output
    assert team.cat(other, "/srv/app") == "one"


def test_a_base_that_the_limit_leaves_out_is_asked_for(team: Any) -> None:
    parent, child, role = team.name("parent"), team.name("child"), team.file_role()
    team.image(parent, role)
    team.image(child, team.file_role("more"), base={"image": parent})
    run = team.bake(*inventory(team), "--limit", child, images=None, ends=2)
    assert f"{child} is based on {parent}, which is not baked yet." in run.output
    assert f"--limit {parent},{child}" in run.output
    assert team.containers() == []


def test_tags_select_tasks_of_roles_and_the_image_is_sealed_all_the_same(team: Any) -> None:
    name = team.name()
    copy = "ansible.builtin.copy: {content: x, dest: /srv/%s, mode: '0644'}"
    tasks = "".join(
        f"- name: Write {file}\n  {copy % file}\n{tags}"
        for file, tags in [("plain", ""), ("tagged", "  tags: [site]\n")]
    )
    team.image(name, team.role("app", tasks))
    run = team.bake("--tags", "site")
    assert "TASK [Capture the layer seal]" in run.output
    assert "TASK [kiln.immutable.seal : " in run.output
    listing = subprocess.run(
        ["docker", "run", "--rm", "--entrypoint", "ls", f"kiln/{name}:1.0.1", "/srv"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listing.stdout.split() == ["tagged"]
    whole = team.bake()
    assert team.numbers(name) == ["1.0.1", "1.0.2"]
    assert "app" in whole.layers_run


def test_verbose_output_shows_results(team: Any) -> None:
    name = team.name()
    team.image(name, team.file_role())
    run = team.bake("-v")
    assert "Using " in run.output
    assert "/srv/app" in run.output


def test_a_vault_value_reaches_the_image_and_nothing_else(team: Any, tmp_path: Path) -> None:
    name = team.name()
    secret = "correct horse battery staple"
    password = tmp_path / "password"
    password.write_text("opensesame\n")

    def encrypted() -> str:
        program = Path(sys.executable).with_name("ansible-vault")
        done = subprocess.run(
            [
                *(sys.executable, program, "encrypt_string"),
                *("--vault-password-file", password, "--name", "app_text", secret),
            ],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "ANSIBLE_HOME": str(tmp_path / "ansible")},
        )
        return done.stdout

    def write() -> None:
        path = team.image(name, team.file_role())
        indented = "".join(f"  {line}\n" for line in encrypted().splitlines())
        path.write_text(f"{path.read_text()}vars:\n{indented}")

    def clear_text() -> list[Path]:
        return [
            path
            for path in (*team.home.rglob("*"), *team.folder.rglob("*"))
            if path.is_file() and "blobs" not in path.parts and secret.encode() in path.read_bytes()
        ]

    write()
    refused = team.bake(ends=2)
    assert "vault" in refused.output
    team.bake("--vault-password-file", str(password))
    assert team.cat(name, "/srv/app") == secret
    assert clear_text() == []
    write()
    again = team.bake("--vault-password-file", str(password))
    assert f"{name} 1.0.1: nothing to do." in again.output
    team.role("app", "- name: Fail\n  ansible.builtin.fail: {msg: '{{ app_text | length }}'}\n")
    team.bake("--vault-password-file", str(password), "-e", "kiln_keep_failed=true", ends=2)
    assert len(team.sessions()) == 1
    assert clear_text() == []


@pytest.mark.usefixtures("plain_role_ran")
def test_an_image_that_is_based_on_another_waits_for_it(team: Any) -> None:
    parent, child, beside = team.name("parent"), team.name("a-child"), team.name("beside")
    role = team.file_role()
    team.image(parent, role)
    team.image(child, team.file_role("more"), base={"image": parent})
    team.image(beside, role)
    first = team.bake()
    assert {parent, child, beside} <= first.hosts
    layers = {name: team.inspect(name)["RootFS"]["Layers"] for name in (parent, child)}
    assert layers[child][: len(layers[parent])] == layers[parent]
    assert len(layers[child]) > len(layers[parent])
    assert team.cat(child, "/srv/app") == "one"
    assert team.version(child)["parent"] == parent
    second = team.bake()
    assert all(f"{name} 1.0.1: nothing to do." in second.output for name in layers)
    team.image(parent, {"role": role, "vars": {"app_text": "two"}})
    third = team.bake()
    assert f"{child}: its base {parent} is baked anew" in third.output
    assert f"{beside} 1.0.1: nothing to do." in third.output
    assert team.cat(child, "/srv/app", "1.0.2") == "two"


def test_when_a_base_fails_the_image_on_it_is_not_waited_for(team: Any) -> None:
    parent, child = team.name("parent"), team.name("child")
    shut = team.role("shut", "- name: Open\n  ansible.builtin.fail: {msg: it is shut}\n")
    team.image(parent, shut)
    team.image(child, team.file_role(), base={"image": parent})
    run = team.bake(ends=2)
    assert "it is shut" in run.output
    assert f"Its base {parent} failed, so {child} was not baked." in run.output


@pytest.mark.usefixtures("plain_role_ran")
def test_the_same_definition_gives_the_same_bytes_in_another_home(
    team: Any, second_home: Path
) -> None:
    name = team.name()
    team.image(name, team.file_role(), config={"cmd": ["cat", "/srv/app"]})
    team.bake()
    first = team.version(name)
    team.home = second_home
    assert team.bake().layers_run == ["app", "seal"]
    assert team.version(name)["index"] == first["index"]


@pytest.mark.usefixtures("plain_role_ran")
def test_the_plain_connection_gives_the_same_bytes(team: Any, second_home: Path) -> None:
    name = team.name()
    team.image(name, team.file_role())
    team.bake()
    first = team.version(name)
    team.home = second_home
    run = team.bake(KILN_PLAIN_CONNECTION="1")
    assert run.layers_run == ["app", "seal"]
    assert team.version(name)["index"] == first["index"]


@pytest.mark.usefixtures("plain_role_ran")
def test_the_configuration_arrives_in_the_engine(team: Any) -> None:
    name = team.name()
    team.image(
        name,
        team.file_role(),
        description="a shop",
        version="2.4",
        config={
            "user": "33:33",
            "entrypoint": ["/bin/cat"],
            "cmd": ["/srv/app"],
            "env": {"TZ": "UTC"},
            "ports": [8080, "53/udp"],
            "volumes": ["/srv/uploads"],
            "working_dir": "/srv",
            "stop_signal": "SIGQUIT",
            "labels": {"org.opencontainers.image.vendor": "Example"},
            "healthcheck": {"test": ["CMD", "/bin/true"], "interval": "10s", "retries": 2},
        },
        state=[
            {"path": "/run/shop", "kind": "tmpfs", "owner": "33:33", "mode": "0750"},
            "/var/lib/shop",
        ],
    )
    run = team.bake()
    config = team.inspect(name, "2.4.1")["Config"]
    assert config["User"] == "33:33"
    assert config["Entrypoint"] == ["/bin/cat"]
    assert config["Cmd"] == ["/srv/app"]
    assert config["Env"] == ["TZ=UTC"]
    assert set(config["ExposedPorts"]) == {"8080/tcp", "53/udp"}
    assert set(config["Volumes"]) == {"/srv/uploads", "/var/lib/shop"}
    assert config["WorkingDir"] == "/srv"
    assert config["StopSignal"] == "SIGQUIT"
    assert config["Healthcheck"]["Test"] == ["CMD", "/bin/true"]
    assert config["Healthcheck"]["Interval"] == 10_000_000_000
    assert config["Healthcheck"]["Retries"] == 2
    assert config["Labels"]["io.kiln.image"] == name
    assert config["Labels"]["org.opencontainers.image.vendor"] == "Example"
    assert config["Labels"]["org.opencontainers.image.description"] == "a shop"
    assert [state["path"] for state in json.loads(config["Labels"]["io.kiln.state"])] == [
        "/run/shop",
        "/var/lib/shop",
    ]
    assert "docker run --detach --read-only --cap-drop ALL" in run.output
    assert f"--volume {name}-var-lib-shop:/var/lib/shop" in run.output


@pytest.mark.parametrize("shown", ["base: {debootstrap: {suite: bookwrm}}\n", "layers: [\n"])
def test_a_bad_definition_is_refused_with_its_place(team: Any, shown: str) -> None:
    name = team.name()
    team.image(name).write_text(shown)
    run = team.bake(ends=2)
    assert f"{name}.yml:" in run.output
    assert "Traceback" not in run.output
    assert not (team.home / "sessions").exists()
