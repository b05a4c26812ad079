# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's registry, started for a test on this machine; and a home with a small image."""

from __future__ import annotations

import gc
import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.version import Version
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer,
    Image,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer, store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.tests.integration.registry.server import (
    Server,
    clients,
    start,
    stop,
)

USER, PASSWORD = "ann", "a secret of ann's"


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give a registry without TLS; tests take repositories of their own."""
    server = start(tmp_path_factory.mktemp("registry"))
    yield server
    stop(server)


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give a registry under TLS that lets only one user in."""
    folder = tmp_path_factory.mktemp("secured")
    certificate, key = folder / "ca.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=kiln test", "-keyout", str(key)]
    command += ["-addext", "subjectAltName=DNS:localhost", "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    users = subprocess.run(
        ["htpasswd", "-niB", USER], input=PASSWORD, check=True, capture_output=True, text=True
    ).stdout
    server = start(folder, tls=(certificate, key), users=users)
    yield server
    stop(server)


@pytest.fixture(name="start")
def start_fixture() -> Iterator[Callable[..., Server]]:
    """Give the function that starts one more registry; it ends with the test."""
    running: list[Server] = []

    def more(*arguments: Any, **options: Any) -> Server:
        running.append(start(*arguments, **options))
        return running[-1]

    yield more
    for server in running:
        stop(server)


@dataclass
class Cutter:
    """A proxy before a registry that cuts connections.

    :param cuts: bytes after which to cut what clients send, one for each connection to cut.
    :param unheard: which of the PATCH requests, counted from 1, never reach the registry.
    """

    port: int
    upstream: int
    cuts: list[int] = field(default_factory=list)
    unheard: list[int] = field(default_factory=list)
    patches: int = 0

    def connect(self, client: socket.socket) -> None:
        """Pass on what goes over one connection, to its end."""
        with client, socket.create_connection(("127.0.0.1", self.upstream)) as server:
            back = threading.Thread(target=self._pass, args=(server, client))
            back.start()
            self._pass(client, server, self._cut)
            back.join()

    def _pass(
        self,
        source: socket.socket,
        target: socket.socket,
        cut: Callable[[bytes, int], int | None] = lambda _content, _passed: None,
    ) -> None:
        passed = 0
        with suppress(OSError):
            while content := source.recv(1 << 16):
                end = cut(content, passed)
                target.sendall(content[:end])
                if end is not None:
                    break
                passed += len(content)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _cut(self, content: bytes, passed: int) -> int | None:
        if content.startswith(b"PATCH /"):
            self.patches += 1
            if self.patches in self.unheard:
                return 0
        if self.cuts and passed + len(content) > self.cuts[0]:
            return self.cuts.pop(0) - passed
        return None


@pytest.fixture
def cutter(registry: Server) -> Iterator[Cutter]:
    """Give a proxy before the registry that can cut connections."""
    listening = socket.create_server(("127.0.0.1", 0))
    made = Cutter(listening.getsockname()[1], int(registry.host.partition(":")[2]))
    threads: list[threading.Thread] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _address = listening.accept()
                threads.append(threading.Thread(target=made.connect, args=(client,)))
                threads[-1].start()

    accepting = threading.Thread(target=serve)
    accepting.start()
    yield made
    listening.shutdown(socket.SHUT_RDWR)
    accepting.join()
    listening.close()
    gc.collect()  # the clients' connections end with the clients
    for thread in threads:
        thread.join(30)


@pytest.fixture(scope="session")
def oras() -> Callable[..., str]:
    """Give oras of Debian 13, which finds the registries of this machine."""
    toolbox = clients()

    def run(*arguments: str) -> str:
        return toolbox.run(["oras", *arguments], network="host").stdout.decode()

    return run


@dataclass
class Home:
    """A home with a store and a catalog, as bakes leave them."""

    root: Path
    checkout: Path

    @property
    def layout(self) -> Layout:
        layout = Layout(self.root / "store")
        layout.ensure()
        return layout

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.root / "catalog")

    def layer(self, content: bytes) -> Layer:
        """Store a layer that is a whole tar with one file of that content."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            member = tarfile.TarInfo("file")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        layer = store_layer(self.layout, [packed.getvalue()])
        assert layer is not None
        return layer

    def version(self, image: str, *layers: Layer, parent: str | None = None) -> Image:
        """Store an image of these layers and record it as the next version."""
        steps = [HistoryLayer(layer, "a step") for layer in layers]
        made = write_image(self.layout, ImageConfig("amd64", 0, cmd=("/file",)), steps)
        version, _new = self.catalog.record(
            image,
            "1.0",
            made.index.digest,
            lambda number: Version(
                image=image,
                number=str(number),
                index=made.index.digest,
                config=made.config.digest,
                bake_key=made.index.digest,
                definition_digest=made.index.digest,
                definition_revision=None,
                created="2026-01-01T00:00:00Z",
                size=1,
                base="none",
                parent=parent,
            ),
        )
        self.layout.tag(f"{image}-{version.number}", made.index)
        return made

    def play(self, name: str, *arguments: str, ends: int = 0, **environment: str) -> str:
        """Run one of our playbooks and return what it said."""
        program = Path(sys.executable).with_name("ansible-playbook")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        done = subprocess.run(
            [
                sys.executable,
                str(program),
                str(self.checkout / f"playbooks/{name}.yml"),
                *arguments,
            ],
            env={
                **inherited,
                "ANSIBLE_COLLECTIONS_PATH": str(self.checkout / ".collections"),
                "ANSIBLE_CONFIG": str(self.checkout / "ansible.cfg"),
                "ANSIBLE_HOME": str(self.root.parent / "ansible"),
                "ANSIBLE_NOCOLOR": "true",
                "COLUMNS": "1000",
                "KILN_HOME": str(self.root),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == ends, done.stdout
        return done.stdout


@pytest.fixture
def home(checkout: Path, tmp_path: Path) -> Home:
    """Return an empty home."""
    return Home(tmp_path / "home", checkout)


@pytest.fixture
def second_home(home: Home, checkout: Path, tmp_path: Path) -> Callable[[], Home]:
    """Return a function that makes the home of another machine of the team: same catalog."""

    def make() -> Home:
        other = Home(tmp_path / "second", checkout)
        other.root.mkdir()
        shutil.copytree(home.root / "catalog", other.root / "catalog")
        return other

    return make
