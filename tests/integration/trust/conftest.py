# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry on this machine, and Debian 13's cosign and podman to ask about what is in it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import (
    Toolbox,
    ToolboxSpec,
    ensure_toolbox,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.waiting import wait_for
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "{host}"}}
"""


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    """Start Debian's docker-registry on a port of its own; give its host."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    folder = Path(tempfile.mkdtemp(prefix="kiln-registry-"))
    config = folder / "config.yml"
    config.write_text(CONFIG.format(root=folder / "data", host=host), "utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_for("the registry", lambda: _answers(host), timeout=30, clock=time)
        yield host
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _answers(host: str) -> bool | None:
    try:
        with urllib.request.urlopen(f"http://{host}/v2/", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return None


@pytest.fixture(scope="session")
def tools() -> Toolbox:
    """Debian 13's cosign and podman."""
    spec = ToolboxSpec("signatures", ("cosign", "podman"))
    return ensure_toolbox(spec, engine=Engine(), home=Home.at(None))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A store."""
    made = Layout(tmp_path / "store")
    made.ensure()
    return made
