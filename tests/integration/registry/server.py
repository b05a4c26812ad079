# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's registry as a process of the tests, and other people's clients of registries."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import (
    Toolbox,
    ToolboxSpec,
    ensure_toolbox,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.access import Access
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.client import (
    Registry,
    connect,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.name import Repository


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


@dataclass
class Server:
    """A registry that runs.

    :param data: where it keeps things.
    :param ca: the authority of its certificate, None without TLS.
    """

    host: str
    data: Path
    process: subprocess.Popen[bytes]
    log: Path
    ca: Path | None = None

    @property
    def url(self) -> str:
        return f"{'http' if self.ca is None else 'https'}://{self.host}"

    def client(self, name: str = "team/web", **options: Any) -> Registry:
        """Return our client of a repository."""
        return connect(Repository.parse(f"{self.host}/{name}"), Access(ca=self.ca, **options))

    def blob(self, digest: str) -> Path:
        """Return the file of a blob."""
        value = digest.removeprefix("sha256:")
        root = self.data / "docker/registry/v2/blobs/sha256"
        return root / value[:2] / value / "data"


def start(
    folder: Path, *, data: Path | None = None, tls: tuple[Path, Path] | None = None, users: str = ""
) -> Server:
    """Start a registry and wait until it answers."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    data = data or folder / "data"
    http: dict[str, Any] = {"addr": f"127.0.0.1:{port}", "secret": "of the tests"}
    if tls is not None:
        http["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(data)}, "delete": {"enabled": True}},
        "http": http,
    }
    if users:
        (folder / "htpasswd").write_text(users)
        config["auth"] = {"htpasswd": {"realm": "kiln", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    server = Server(f"localhost:{port}", data, process, log, tls[0] if tls else None)
    deadline = time.monotonic() + 30
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return server
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, "the registry did not start"
        time.sleep(0.05)


def stop(server: Server) -> None:
    server.process.terminate()
    server.process.wait(30)


def clients() -> Toolbox:
    """Return Debian 13's clients of registries, in one toolbox for all tests that ask them."""
    spec = ToolboxSpec("registries", ("cosign", "oras", "podman"))
    return ensure_toolbox(spec, engine=Engine(), home=Home.at(None))
