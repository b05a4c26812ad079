# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees on disk: described once, captured by the program, unpacked by other people's tools."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.oci.archive import docker_archive
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer,
    Image,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import (
    CAPTURE_SOURCE,
    Layer,
    store_layer,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

EPOCH = 1_700_000_000

Tree = dict[bytes, dict[str, Any]]


def run(*argv: str | Path, data: bytes | None = None) -> bytes:
    """Run a tool; its errors are in the test's report."""
    done = subprocess.run(argv, input=data, capture_output=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr.decode(errors='replace')}"
    return done.stdout


@pytest.fixture(name="describe")
def describe_fixture() -> Callable[[Path], Tree]:
    """Give the function that describes a tree, to compare it with another."""
    return describe


def describe(root: Path) -> Tree:
    """Return all that a layer has to carry of every entry below *root*, by name.

    The root itself is left out: engines give it a mode of their own.
    """
    found: Tree = {}
    links: dict[int, list[bytes]] = {}
    top = os.fsencode(root)
    pending = [b""]
    while pending:
        name = pending.pop()
        path = os.path.join(top, name) if name else top
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        xattrs = os.listxattr(path, follow_symlinks=False)
        described: dict[str, Any] = {
            "mode": stat.filemode(status.st_mode),
            "owner": (status.st_uid, status.st_gid),
            "xattrs": {n: os.getxattr(path, n, follow_symlinks=False) for n in xattrs},
        }
        if kind == stat.S_IFREG:
            with open(path, "rb") as stream:
                described["content"] = hashlib.file_digest(stream, "sha256").hexdigest()
            described["size"] = status.st_size
            described["names"] = links.setdefault(status.st_ino, [])
            described["names"].append(name)
            described["names"].sort()
        elif kind == stat.S_IFLNK:
            described["target"] = os.readlink(path)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            described["device"] = status.st_rdev
        elif kind == stat.S_IFDIR:
            pending += [os.path.join(name, child) for child in os.listdir(path)]
            if not name:
                continue
        found[name] = described
    return found


class Kiln:
    """A root on disk and the layout that its layers go to."""

    def __init__(self, top: Path) -> None:
        self.root = top / "root"
        self.root.mkdir()
        self.layout = Layout(top / "store")
        self.layout.ensure()
        self.program = [sys.executable, "-I", "-c", CAPTURE_SOURCE]
        self.place = ["--root", str(self.root), "--state", str(top / "state")]

    def snapshot(self, *arguments: str) -> None:
        run(*self.program, "snapshot", *self.place, *arguments)

    def capture(self) -> Layer | None:
        """Store what changed since the snapshot or the last capture."""
        argv = [*self.program, "capture", *self.place, f"--epoch={EPOCH}"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            output = process.stdout
            layer = store_layer(self.layout, iter(lambda: output.read(1 << 20), b""))
        assert process.returncode == 0
        return layer

    def image(self, layers: Sequence[Layer | None], tag: str = "tree") -> Image:
        config = ImageConfig("amd64", EPOCH, cmd=("/nothing",))
        image = write_image(self.layout, config, [HistoryLayer(x, "tree") for x in layers])
        self.layout.tag(tag, image.index)
        return image


@pytest.fixture
def kiln(tmp_path: Path) -> Kiln:
    """Return an empty root of which a snapshot was taken, and an empty layout."""
    made = Kiln(tmp_path)
    made.snapshot()
    return made


@pytest.fixture
def engine_names() -> Iterator[Callable[[], str]]:
    """Give names for things in the engine, removed at the end whatever they are."""
    made: list[str] = []

    def name() -> str:
        made.append(f"kiln-test-{uuid.uuid4().hex[:12]}")
        return made[-1]

    yield name
    for kind in (["rm", "-f", "-v"], ["rmi", "-f"], ["volume", "rm", "-f"]):
        for used in made:
            subprocess.run(["docker", *kind, used], capture_output=True, check=False)


def unpack_with_umoci(kiln: Kiln, image: Image, top: Path, name: str) -> Path:
    """Unpack with umoci, which applies the layers to a plain directory."""
    run("umoci", "unpack", "--image", f"{kiln.layout.root}:tree", top / "bundle")
    return top / "bundle" / "rootfs"


def unpack_with_podman(kiln: Kiln, image: Image, top: Path, name: str) -> Path:
    """Copy with skopeo into the storage of podman, with its overlay driver."""
    root, runroot = top / "storage", top / "runroot"
    where = f"containers-storage:[overlay@{root}+{runroot}]localhost/{name}:1"
    run("skopeo", "--insecure-policy", "copy", f"oci:{kiln.layout.root}:tree", where)
    podman = ["podman", "--storage-driver=overlay", f"--root={root}", f"--runroot={runroot}"]
    mounted = run(*podman, "image", "mount", f"localhost/{name}:1")
    return Path(mounted.decode().strip())


def unpack_with_engine(kiln: Kiln, image: Image, top: Path, name: str) -> Path:
    """Load into the engine and mount its layers as it does for a container."""
    run("docker", "load", data=b"".join(docker_archive(kiln.layout, image, [f"{name}:latest"])))
    (inspected,) = json.loads(run("docker", "image", "inspect", name))
    assert inspected["Id"] == image.config.digest
    data = inspected["GraphDriver"]["Data"]
    layers = [data["UpperDir"], *data.get("LowerDir", "").split(":")]
    merged = top / "merged"
    merged.mkdir()
    lower = ":".join(filter(None, [*layers, str(top / "nothing")]))
    (top / "nothing").mkdir()
    run("mount", "-t", "overlay", "-o", f"ro,lowerdir={lower}", "overlay", merged)
    return merged


Unpack = Callable[[Kiln, Image], Tree]


@pytest.fixture(params=[unpack_with_umoci, unpack_with_podman, unpack_with_engine])
def unpack(request: pytest.FixtureRequest, engine_names: Callable[[], str]) -> Iterator[Unpack]:
    """Unpack an image with a tool that is not ours, and describe what came out."""
    # Podman takes no run directory whose name is longer than 50 characters.
    top = Path(tempfile.mkdtemp(prefix="kiln-", dir="/tmp"))

    def unpacked(kiln: Kiln, image: Image) -> Tree:
        return describe(request.param(kiln, image, top, engine_names()))

    yield unpacked
    subprocess.run(["umount", top / "merged"], capture_output=True, check=False)
    podman = ["podman", "--storage-driver=overlay", f"--root={top}/storage"]
    subprocess.run(
        [*podman, f"--runroot={top}/runroot", "rmi", "-af"], capture_output=True, check=False
    )
    shutil.rmtree(top)
