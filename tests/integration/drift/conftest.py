# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances of a baked image, on the engine that answers."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import (
    ToolboxSpec,
    ensure_toolbox,
)
from ansible_collections.kiln.immutable.plugins.module_utils.drift.instance import TOOLBOX
from ansible_collections.kiln.immutable.tests.integration.drift.instances import (
    Start,
    Web,
    docker,
    play,
)

STATE = ("/run/nginx", "/var/cache/nginx")


@pytest.fixture(scope="session")
def web(checkout: Path) -> Iterator[Web]:
    """Bake the example, which costs a second when somebody did before."""
    before = set(docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())
    examples = checkout / "examples" / "images" / "web.yml"
    done = play(checkout, "bake.yml", "-e", f"kiln_images={examples}")
    found = re.search(r"(?m)^web ([0-9.]+)(?:: nothing to do|, baked in)", done.stdout)
    assert found is not None, done.stdout
    made = Web(found[1])
    yield made
    if made.image not in before:
        docker("image", "rm", made.image)


@pytest.fixture(scope="session")
def toolbox() -> str:
    """Give the toolbox that reads instances."""
    name, packages = TOOLBOX
    return ensure_toolbox(ToolboxSpec(name, packages), engine=Engine(), home=Home.at(None)).image


@pytest.fixture(scope="module")
def start(web: Web) -> Iterator[Start]:
    """Give a function that starts an instance of the example; all are gone afterwards."""
    names: list[str] = []

    def started(*options: str, image: str = web.image, words: Sequence[str] = ()) -> str:
        names.append(f"kiln-drift-{uuid.uuid4().hex[:8]}")
        state = [f"--tmpfs={path}:uid=33,gid=33,mode=0750" for path in STATE]
        docker("run", "--detach", "--name", names[-1], *state, *options, image, *words)
        return names[-1]

    yield started
    if names:
        docker("rm", "--force", "--volumes", *names, check=False)
