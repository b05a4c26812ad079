# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second machine: an engine with a network and a host name of its own, on this one."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.kiln.immutable.tests.integration.groups.releases import docker

LIMIT = 120.0  # seconds until the engine must answer
OURS, ITS = "10.213.7.1", "10.213.7.2"


@dataclass(frozen=True)
class Node:
    """The second machine.

    :param name: its host name.
    :param address: where its ports are.
    :param engine: its engine, as DOCKER_HOST takes it.
    """

    name: str
    address: str
    engine: str

    def docker(self, *arguments: str) -> str:
        """Run the client with its engine."""
        return docker("--host", self.engine, *arguments)

    def load(self, images: Sequence[str]) -> None:
        """Give it *images* of the first engine, as a registry would."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            argv = ["docker", "--host", self.engine, "load", "--quiet"]
            loaded = subprocess.run(argv, stdin=saved.stdout, capture_output=True, check=False)
        assert (saved.returncode, loaded.returncode) == (0, 0), loaded.stderr


@contextlib.contextmanager
def second_node(reaches: str) -> Iterator[Node]:
    """Start the second machine; nothing of it is left afterwards.

    :param reaches: the address of the first machine that it gets to, besides the cable's end. What
        it asks of the world, a registry for one, is refused at once.
    """
    name = f"kiln-{uuid.uuid4().hex[:6]}"
    folder = Path(tempfile.mkdtemp(prefix="kiln-node-", dir="/var/lib"))
    node = Node(name, ITS, f"unix://{folder}/engine.sock")
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "address", "add", f"{OURS}/30", "dev", name)
        _run("ip", "link", "set", name, "up")
        for words in (
            ("address", "add", f"{ITS}/30", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
            ("route", "add", reaches, "via", OURS),
        ):
            _run("ip", "-netns", name, *words)
        with _engine(node, folder):
            yield node
    finally:
        # Taking the namespace away takes both ends of the cable with it.
        _run("ip", "netns", "delete", name)
        _clear(folder)


@contextlib.contextmanager
def _engine(node: Node, folder: Path) -> Iterator[None]:
    engine = [
        *("dockerd", "--host", node.engine, "--data-root", str(folder / "data")),
        *("--exec-root", str(folder / "run"), "--pidfile", str(folder / "pid")),
        # Other networks than the first engine's, which it is to reach.
        *("--bip", "10.213.8.1/24", "--default-address-pool", "base=10.214.0.0/16,size=24"),
        *("--log-level", "error"),
    ]
    # ip-netns(8) would hide the control groups; a host name is what Swarm tells nodes apart by.
    inside = ["nsenter", f"--net=/run/netns/{node.name}", "unshare", "--uts", "sh", "-c"]
    told = (folder / "log").open("wb")
    argv = [*inside, 'hostname "$0"; exec "$@"', node.name, *engine]
    process = subprocess.Popen(argv, stdout=told, stderr=told)
    try:
        end = time.monotonic() + LIMIT
        while not _answers(node):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.1)
        yield
    finally:
        with contextlib.suppress(AssertionError):
            there = node.docker("ps", "--all", "--quiet").split()
            if there:
                node.docker("rm", "--force", "--volumes", *there)
        process.terminate()
        process.wait(timeout=LIMIT)
        told.close()


def _answers(node: Node) -> bool:
    asked = ["docker", "--host", node.engine, "ps", "--quiet"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def _clear(folder: Path) -> None:
    """Remove the folder of an engine that ended, with what it may have left mounted there."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((one for one in mounts if one.startswith(f"{folder}/")), reverse=True):
        _run("umount", "--lazy", mount)
    shutil.rmtree(folder)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
