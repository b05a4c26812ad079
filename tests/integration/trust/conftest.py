# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry on this machine, and Debian 13's cosign and podman to ask about what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import Toolbox
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.tests.integration.registry.server import (
    clients,
    start,
    stop,
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start Debian's docker-registry on a port of its own; give its host."""
    server = start(tmp_path_factory.mktemp("registry"))
    yield server.host.replace("localhost", "127.0.0.1")
    stop(server)


@pytest.fixture(scope="session")
def tools() -> Toolbox:
    """Debian 13's cosign and podman."""
    return clients()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A store."""
    made = Layout(tmp_path / "store")
    made.ensure()
    return made
