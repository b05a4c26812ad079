# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What outlives an instance, and what it is given in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.docker import (
    DockerBackend,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    Reference,
    Secret,
    Variable,
    Volume,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.engine import Rotation
from ansible_collections.kiln.immutable.plugins.module_utils.groups.work import Ending
from ansible_collections.kiln.immutable.tests.integration.groups.group import Group
from ansible_collections.kiln.immutable.tests.integration.groups.releases import docker

only_docker = pytest.mark.parametrize("group", ["docker"], indirect=True)


@only_docker
def test_an_exclusive_volume_and_secrets_are_handed_over(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KILN_TEST_PASSWORD", "hardly secret")
    where = Reference("env", "KILN_TEST_PASSWORD")
    definition = replace(
        group.definition,
        size=1,
        volumes=(Volume("data", "/srv/data"),),
        secrets=(Secret("db", where, "/run/secrets/db", "33:33", "0400"),),
        environment=(Variable("PASSWORD", reference=where),),
    )

    def rotate(release: str) -> str:
        backend = DockerBackend(definition)
        result = Rotation(backend, definition, group.release(release), "the test").rotate()
        assert result.ending is Ending.ROTATED, result.message
        assert result.highest == 1, "two instances had the volume at once"
        (instance,) = backend.observe().instances
        backend.close()
        return instance.id

    first = rotate("v1")
    docker("exec", "--user", "0", first, "sh", "-c", "echo kept >/srv/data/file")
    assert "hardly secret" not in docker("inspect", first).replace("PASSWORD=hardly secret", "")
    monkeypatch.setenv("KILN_TEST_PASSWORD", "quite secret")
    # The same version and definition: only the value is another.
    second = rotate("v1")
    assert second != first
    said = docker("exec", second, "sh", "-c", "cat /srv/data/file; stat -c %a:%u /run/secrets/db")
    assert said == "kept\n400:33"
    assert docker("exec", second, "cat", "/run/secrets/db") == "quite secret"
    assert docker("exec", second, "printenv", "PASSWORD") == "quite secret"
    kept = docker("volume", "ls", "--quiet", "--filter", f"name={group.name}").split()
    assert f"kiln-{group.name}-data-0" in kept
    assert not any(name.startswith(f"{first}-secrets") for name in kept)
