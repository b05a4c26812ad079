# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CI machines that have only a registry in common reuse each other's layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.tests.integration.registry.server import (
    Server,
    start,
    stop,
)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Server]:
    """Give a registry that holds nothing."""
    server = start(tmp_path / "registry")
    yield server
    stop(server)


def test_a_registry_gives_layers_to_machines_that_have_nothing_else_in_common(
    team: Any, registry: Server, tmp_path: Path, docker: Callable[..., str]
) -> None:
    name = team.name()
    team.image(name, team.file_role("first"), team.file_role("second"))
    place = f"{registry.host}/ci/cache"
    team.bake("-e", f"kiln_cache_to={place}")
    made = team.version(name)
    tags = registry.client("ci/cache").tags()
    # The base, the two layers, and seal's.
    assert [tag.partition("-")[0] for tag in tags] == ["bases", "layers", "layers", "layers"]
    docker("image", "rm", f"kiln/{name}:1.0.1")
    # Nothing is there, and no base can be bootstrapped.
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "mmdebstrap").write_text("#!/bin/sh\necho no archive answers >&2\nexit 1\n")
    (tools / "mmdebstrap").chmod(0o755)
    path = f"{tools}:{team.variables()['PATH']}"
    fresh = replace(team, home=tmp_path / "fresh-home", environment={"PATH": path})
    taken = fresh.bake("-e", f"kiln_cache_from=oci://{place}")
    assert taken.layers_run == []
    assert "shared" in taken.output
    assert fresh.version(name)["index"] == made["index"]
    # A third machine, and a registry that lies about the second layer.
    docker("image", "rm", f"kiln/{name}:1.0.1")
    cached = {tag: registry.client("ci/cache").fetch(tag) for tag in tags}
    small = min(
        (path for path in registry.data.rglob("data") if path.read_bytes()[:2] == b"\x1f\x8b"),
        key=lambda path: path.stat().st_size,
    )
    content = bytearray(small.read_bytes())
    content[-1] ^= 1
    small.write_bytes(content)
    digest = f"sha256:{small.parent.name}"
    assert any(one is not None and digest.encode() in one.content for one in cached.values())
    third = replace(fresh, home=tmp_path / "third-home")
    mended = third.bake("-e", f"kiln_cache_from={place}")
    assert f"The shared cache {place} is not used for a layer: Blob {digest}" in mended.output
    assert mended.layers_run
    assert third.version(name)["index"] == made["index"]
