# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators type: the playbooks rotate, rollback and status, and what they end with."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.version import (
    Version,
    VersionNumber,
)
from ansible_collections.kiln.immutable.tests.integration.drift.instances import play
from ansible_collections.kiln.immutable.tests.integration.groups.conftest import Images
from ansible_collections.kiln.immutable.tests.integration.groups.group import Group, free_port
from ansible_collections.kiln.immutable.tests.integration.groups.releases import docker, remove

FIRST, SECOND, SICK = "1.0.1", "1.0.2", "1.0.3"


@dataclass(frozen=True)
class Shop:
    """A group of an image with three versions, the last of which never gets healthy.

    :param path: the group's definition.
    """

    checkout: Path
    folder: Path
    image: str
    group: Group

    @property
    def path(self) -> Path:
        return self.folder / f"{self.group.name}.yml"

    def write(self, **changes: Any) -> Path:
        """Write the definition; *changes* take the place of its keys."""
        health = {"kind": "http", "path": "/healthz", "interval": "300ms"}
        values = {
            "image": {"name": self.image, "version": FIRST},
            "size": 2,
            "backend": {"kind": "docker", "options": {"balancer": self.group.balancer}},
            "ports": [{"container": 8080, "published": self.group.port}],
            "environment": {"MODE": "first"},
            "health": [health],
            "policy": {"max_surge": 2, "min_ready": "0s", "start_timeout": "30s"},
            "stop_timeout": "2s",
        }
        self.path.write_text(yaml.safe_dump({**values, **changes}, sort_keys=False))
        return self.path

    def play(self, playbook: str, *words: str, ends: int = 0, **variables: Any) -> str:
        """Run a playbook on the group, and give what it said."""
        given = {"kiln_group": str(self.path), **variables}
        done = play(self.checkout, f"{playbook}.yml", *words, "-e", json.dumps(given), ends=ends)
        return done.stdout + done.stderr

    def instances(self) -> dict[str, str]:
        """Return the version of each container of the group."""
        mine = f"label=io.kiln.group={self.group.name}"
        form = '{{.Names}} {{.Label "io.kiln.version"}}'
        said = docker(
            "ps", "--filter", mine, "--filter", "label=io.kiln.instance", "--format", form
        )
        return dict(line.split() for line in said.splitlines())

    def versions(self) -> list[str]:
        """Return the versions that run."""
        return sorted(self.instances().values())


@pytest.fixture(scope="module")
def shop(
    images: Images, checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """Return a group that nobody has rotated yet, with a catalog of its own."""
    folder, mark = tmp_path_factory.mktemp("shop"), uuid.uuid4().hex[:8]
    name = f"app-{mark}"
    catalog = Catalog(Home.at(str(folder / "home")).catalog)
    tags: list[str] = []
    for release in ("v1", "v2", "sick"):

        def make(number: VersionNumber) -> Version:
            index = f"sha256:{number.patch:064x}"
            made = "2026-01-10T10:30:12Z"
            return Version(name, str(number), index, "", "", "", None, made, 1, "debootstrap")

        version, _new = catalog.record(name, "1.0", f"sha256:{len(tags) + 1:064x}", make)
        tags.append(f"kiln/{name}:{version.number}")
        docker("tag", images.releases[release], tags[-1])
    group = Group("docker", f"g{mark}", free_port() + 800, images.balancer, {}, folder / "log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KILN_HOME", str(folder / "home"))
        made = Shop(checkout, folder, name, group)
        made.write()
        yield made
    remove(group)
    docker("image", "rm", *tags)


def test_a_rotation_is_looked_at_done_kept_and_taken_back(shop: Shop) -> None:
    shop.write()
    asked: dict[str, Any] = {"kiln_fail_when": "changed"}
    said = shop.play("rotate", "--check", "--diff", ends=2, **asked)
    assert "Plan: 2 to start" in said
    assert f"+(new) {FIRST}" in said
    assert shop.instances() == {}
    assert f"runs {shop.image} {FIRST} with 2 instances" in shop.play("rotate")
    before = shop.instances()
    assert sorted(before.values()) == [FIRST, FIRST]
    assert "failed=0" in shop.play("rotate", "--check", **asked)
    assert shop.instances() == before

    plan = shop.folder / "plan.json"
    said = shop.play("rotate", kiln_version=SECOND, kiln_plan_to=str(plan))
    assert f"image digest forces replacement ({FIRST} -> {SECOND})" in said
    assert "changed=0" in said
    assert shop.instances() == before
    saved: dict[str, Any] = {"kiln_version": SECOND, "kiln_plan_from": str(plan)}
    assert f"runs {shop.image} {SECOND}" in shop.play("rotate", **saved)
    assert shop.versions() == [SECOND, SECOND]
    assert "has moved since the plan was made" in shop.play("rotate", ends=2, **saved)

    said = shop.play("status")
    assert shop.group.name in said
    assert SECOND in said

    said = shop.play("rollback", "--check", "--diff")
    assert f"image digest forces replacement ({SECOND} -> {FIRST})" in said
    assert shop.versions() == [SECOND, SECOND]
    assert f"runs {shop.image} {FIRST}" in shop.play("rollback")
    assert shop.versions() == [FIRST, FIRST]


def serve_first(shop: Shop) -> None:
    """Have the group run the first version."""
    shop.write()
    if shop.versions() != [FIRST, FIRST]:
        shop.play("rotate")


def test_the_way_back_from_a_bad_version_has_the_settings_of_then(shop: Shop) -> None:
    serve_first(shop)
    policy = {"max_surge": 0, "max_unavailable": 1, "min_ready": "0s", "start_timeout": "8s"}
    shop.write(environment={"MODE": "second"}, policy=policy)
    said = shop.play("rotate", ends=2, kiln_version=SICK)
    assert f"was rolled back to {shop.image} {FIRST}, which serves with 2 instances" in said
    there = shop.instances()
    assert sorted(there.values()) == [FIRST, FIRST]
    assert {docker("exec", name, "printenv", "MODE") for name in there} == {"first"}


def test_info_tells_what_runs_and_what_would_be_done(shop: Shop) -> None:
    serve_first(shop)
    holds = [
        "found.instances | selectattr('serving') | length == 2",
        f"found.current.release.version == '{FIRST}'",
        "not found.changed and not found.pending",
        "found.lock is none and found.rotation is none",
        "other.pending",
    ]
    info = "kiln.immutable.instance_group_info"
    tasks: list[dict[str, Any]] = [
        {"name": "Ask", info: {"group": str(shop.path)}, "register": "found"},
        {"name": "Ask", info: {"group": str(shop.path), "version": SECOND}, "register": "other"},
        {"name": "See", "ansible.builtin.assert": {"that": holds}},
    ]
    playbook = shop.folder / "info.yml"
    whole = [{"name": "Look", "hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    playbook.write_text(yaml.safe_dump(whole))
    play(shop.checkout, str(playbook), "--check")


def test_what_is_wrong_is_named_with_its_line(shop: Shop) -> None:
    path = shop.write(size=0, policy={"min_ready": "soon", "max_surge": 0, "wrong": 1})
    lines = path.read_text().splitlines()
    said = shop.play("rotate", "--check", ends=2)
    for word in ("min_ready", "wrong"):
        (line,) = (number for number, text in enumerate(lines, 1) if f"{word}:" in text)
        assert f"{path}:{line}: policy.{word}" in said
    shop.write(image={"name": shop.image, "version": "9.9.9"})
    said = shop.play("rotate", "--check", ends=2)
    assert f"{path}:1: image: the catalog has no version {shop.image} 9.9.9" in said
    shop.write()
    assert "has not run 9.9.9" in shop.play("rollback", ends=2, kiln_version="9.9.9")
