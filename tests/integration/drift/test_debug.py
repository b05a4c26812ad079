# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies to look into, bundles of what failed, and marks on what drifted, with the real engine."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.workshop import Workshop
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.drift.debug_copy import Copier, Wish
from ansible_collections.kiln.immutable.plugins.module_utils.drift.instance import find_instances
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.docker import (
    DockerBackend,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition import load
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import Release, Start
from ansible_collections.kiln.immutable.plugins.plugin_utils.evidence import Evidence
from ansible_collections.kiln.immutable.tests.integration.drift.instances import (
    Web,
    docker,
    play,
)


@dataclass(frozen=True)
class Group:
    """A group of two instances without a balancer."""

    path: Path
    backend: DockerBackend
    names: tuple[str, ...]
    number: str


@pytest.fixture
def group(web: Web, tmp_path: Path) -> Iterator[Group]:
    """Start a group of the example; everything of it is gone afterwards."""
    name = f"kiln-drift-{uuid.uuid4().hex[:8]}"
    path = tmp_path / f"{name}.yml"
    values = {
        "image": {"name": "web", "version": web.number},
        "size": 2,
        "environment": {"MODE": "prod"},
        "volumes": [{"name": "data", "path": "/srv/data", "access": "shared"}],
        "resources": {"memory": "256m", "cpus": 0.5},
        "hardening": {"read_only": False, "tmpfs": ["/tmp"]},
        "drift": {"ignore": [{"file": "/run/app.pid", "reason": "the app writes it"}]},
    }
    path.write_text(yaml.safe_dump(values))
    definition = load(path)
    version = Catalog(Home.at(None).catalog).version("web", web.number)
    assert version is not None
    backend = DockerBackend(definition)
    names = (f"{name}-one", f"{name}-two")
    release = Release("web", web.number, version.index, web.image)
    try:
        backend.prepare()
        lock = backend.take_lock("test", 60)
        outcomes = backend.apply([Start(one, release) for one in names], lock)
        assert [one.message for one in outcomes] == ["", ""]
        backend.release_lock(lock)
        yield Group(path, backend, names, web.number)
    finally:
        backend.close()
        mine = ("--filter", f"label=io.kiln.group={name}")
        docker("rm", "--force", "--volumes", *names, check=False)
        docker("network", "rm", f"kiln-{name}", check=False)
        for volume in docker("volume", "ls", "--quiet", *mine).split():
            docker("volume", "rm", "--force", volume)


def marks(group: Group) -> dict[str, str]:
    """Return why instances of the group are to be replaced."""
    return {one.id: one.tainted for one in group.backend.observe().instances if one.tainted}


def test_what_drifted_in_a_group_is_marked_and_what_is_well_is_not(
    group: Group, checkout: Path, toolbox: str
) -> None:
    assert toolbox
    one, two = group.names
    given = ("-e", json.dumps({"kiln_group": str(group.path), "kiln_taint": True}))
    docker("exec", "--user", "0", two, "sh", "-c", "echo 1 > /run/app.pid; echo 1 > /srv/data/x")
    docker("exec", "--user", "0", one, "sh", "-c", "echo '# x' >> /etc/passwd")
    docker("update", "--memory", "300m", "--memory-swap", "300m", one)
    done = play(checkout, "drift.yml", "--check", *given, ends=2)
    assert f"Drifted: {one}." in done.stdout
    assert f"{two} (web {group.number}): as it should be" in done.stdout
    assert "the app writes it" in done.stdout
    assert marks(group) == {}
    play(checkout, "drift.yml", *given, ends=2)
    assert marks(group) == {one: "drifted: 1 setting, 1 file"}


def test_of_what_failed_a_bundle_is_kept(group: Group, tmp_path: Path, toolbox: str) -> None:
    assert toolbox
    one, _two = group.names
    docker("exec", "--user", "0", one, "sh", "-c", "echo '# x' >> /etc/passwd")
    docker("kill", one)
    (instance,) = (found for found in group.backend.observe().instances if found.id == one)
    said: list[str] = []
    shop = Workshop.at(Home.at(None))
    evidence = Evidence(shop, Catalog(shop.home.catalog), load(group.path), said.append)
    evidence(instance, "it ended with 137")
    (path,) = (shop.home.root / "bundles" / group.path.stem).iterdir()
    assert str(path) in said[0]
    # By tar(1): the filter that tarfile warns without is not in Debian 12's Python yet.
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    subprocess.run(["tar", "--extract", "--file", path, "--directory", bundle], check=True)
    (folder,) = bundle.iterdir()
    assert "it ended with 137" in (folder / "why.txt").read_text()
    drift = json.loads((folder / "drift.json").read_text())
    assert [found["subject"] for found in drift["findings"]] == ["/etc/passwd"]
    assert "MODE=(hidden)" in (folder / "inspect.json").read_text()
    path.unlink()
    path.parent.rmdir()

    docker("rm", "--force", one)
    evidence(instance, "it ended with 137")
    assert "nothing could be kept" in said[1]


def test_a_copy_has_the_state_of_its_instance_and_reaches_nobody(
    group: Group, toolbox: str
) -> None:
    one, _two = group.names
    docker("exec", "--user", "0", one, "sh", "-c", "echo before > /srv/data/state")
    (instance,) = find_instances([one])
    copier = Copier(toolbox)
    copy = copier.make(instance, Wish(until=time.time() + 3600, pause=True))
    try:
        docker("exec", "--user", "0", one, "sh", "-c", "echo after > /srv/data/state")
        assert docker("exec", copy.name, "cat", "/srv/data/state") == "before"
        (about,) = json.loads(docker("inspect", copy.name))
        assert list(about["NetworkSettings"]["Networks"]) == ["none"]
        assert "io.kiln.group" not in about["Config"]["Labels"]
        assert about["HostConfig"]["CapDrop"] == ["ALL"]
        assert about["Image"] == instance.image
        assert {found.id for found in group.backend.observe().instances} == set(group.names)
    finally:
        copier.remove(copy)
    left = docker("volume", "ls", "--quiet", "--filter", f"label=io.kiln.debug={one}")
    assert left == ""


def test_copies_come_and_go_as_they_are_asked_for(
    group: Group, checkout: Path, tmp_path: Path, toolbox: str
) -> None:
    assert toolbox
    one, _two = group.names
    steps: list[tuple[dict[str, Any], str]] = [
        ({"instance": one, "hours": 0, "look": True}, "found.changed and found.container is none"),
        ({"instance": one, "hours": 0}, "found.changed and found.removed == []"),
        # The time of the one before is over.
        ({"instance": one, "network": "internal"}, "found.removed | length == 1"),
        ({"instance": one, "state": "absent"}, "found.removed | length == 1"),
        ({"instance": one, "state": "absent"}, "not found.changed"),
    ]
    tasks: list[dict[str, Any]] = []
    for options, holds in steps:
        look = options.pop("look", False)
        tasks.append(
            {
                "name": f"Ask for {options}",
                "kiln.immutable.instance_debug": options,
                "check_mode": look,
                "register": "found",
            }
        )
        tasks.append({"name": f"See {holds}", "ansible.builtin.assert": {"that": [holds]}})
    playbook = tmp_path / "debug.yml"
    whole = [{"name": "Look", "hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    playbook.write_text(yaml.safe_dump(whole))
    try:
        play(checkout, str(playbook))
    finally:
        for copy in Copier("").copies(one):
            Copier("").remove(copy)
        docker("network", "rm", "kiln-debug", check=False)
