# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures push and pull of a version against ``skopeo copy`` of the same image, side by side.

    python -m tests.bench.registry

Each copy has a registry of its own that holds nothing yet, Debian's docker-registry on this
machine. It ends with 1 when a promised figure was missed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.core.command import run
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.core.waiting import wait_for
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import LAYER_GZIP
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer,
    Image,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.references import closure

from .sheet import Comparison, Machine, bench_parser, compare, rounds_in_words, show

RATIO = 1.3
MIB = 1 << 20
SIZES = (48, 16, 4, 1)
"""MiB of the layers of the image, about what a web server on Debian has."""
DISK = 256
"""MiB of what a version with a disk has on top of that."""

CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {data}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True, slots=True)
class Works:
    """Where the bench works, and the images that it copies.

    :param second: the image with another last layer.
    :param large: the image with what stands for a disk.
    """

    folder: Path
    layout: Layout
    image: Image
    second: Image
    large: Image

    def skopeo(self, host: str, image: Image, tag: str) -> list[str]:
        """Return the command that pushes."""
        options = ["--all", "--preserve-digests", "--dest-tls-verify=false"]
        source = f"oci:{self.layout.root}:{image.index.digest[7:]}"
        return ["skopeo", "copy", *options, source, f"docker://{host}/web:{tag}"]

    def ours(self, host: str, image: Image, tag: str) -> list[str]:
        """Return our command that pushes."""
        return _ours("push", self.layout.root, image, host, tag)


@dataclass
class Counter:
    """A way to a registry that counts the bytes that clients send."""

    port: int
    sent: int = 0
    threads: list[threading.Thread] = field(default_factory=list)

    def join(self, client: socket.socket, upstream: int) -> None:
        """Pass on what goes over one connection, to its end."""
        with client, socket.create_connection(("127.0.0.1", upstream)) as server:
            back = threading.Thread(target=self._pass, args=(server, client, False))
            back.start()
            self._pass(client, server, True)
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket, count: bool) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(1 << 18):
                self.sent += len(content) if count else 0
                target.sendall(content)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def main(arguments: Sequence[str]) -> int:
    """Run the bench; return the exit status."""
    options = bench_parser("registry", __doc__, rounds=7).parse_args(arguments)
    try:
        skopeo = re.search(r"[0-9.]+", run(["skopeo", "--version"]).text)
        machine = Machine.now(("skopeo", skopeo[0] if skopeo else "?"), ("distribution", "2.8.2"))
        with tempfile.TemporaryDirectory(prefix="kiln-bench-registry-") as folder:
            # As where the collection is installed, Python finds its bytecode.
            os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
            os.environ["PYTHONPYCACHEPREFIX"] = f"{folder}/bytecode"
            works = _prepare(Path(folder))
            counted = _count(works)
            comparisons = _measure(works, works.image, options.rounds)
            comparisons += _measure(works, works.large, options.rounds)
    except (DriverError, subprocess.CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    new = works.second.layers[-1].descriptor.size
    lines = [
        *machine.lines,
        "",
        f"Medians of {rounds_in_words(options.rounds)}, smallest and largest in parentheses.",
        "",
        *compare(comparisons, "kiln", "skopeo"),
        "",
        "| a version whose base is there already | bytes that the client sent |",
        "|---|---|",
        f"| the new layer | {new} |",
        *(f"| {title} | {count} |" for title, count in counted),
    ]
    show("registry", arguments, options.write, lines)
    return 0 if all(case.met for case in comparisons) else 1


def _prepare(folder: Path) -> Works:
    """Make the image: layers that do not compress, as layers are compressed already."""
    layout = Layout(folder / "layout")
    layout.ensure()

    def layer(size: int) -> Layer:
        content = os.urandom(size * MIB)
        blob = layout.put(content, LAYER_GZIP)
        return Layer(blob, blob.digest, len(content))

    layers = [layer(size) for size in SIZES]
    images = []
    for chosen in (layers, [*layers[:-1], layer(SIZES[-1])], [*layers, layer(DISK)]):
        steps = [HistoryLayer(one, "a layer") for one in chosen]
        images.append(write_image(layout, ImageConfig("amd64", 0), steps))
        layout.tag(images[-1].index.digest[7:], images[-1].index)
    return Works(folder, layout, *images)


def _measure(works: Works, image: Image, rounds: int) -> list[Comparison]:
    """Time each case for both sides in each round; who goes first changes from round to round."""
    pushes: dict[str, list[float]] = {"ours": [], "skopeo": []}
    pulls: dict[str, list[float]] = {"ours": [], "skopeo": []}
    sides: list[tuple[str, Callable[[str, Image, str], list[str]]]]
    sides = [("ours", works.ours), ("skopeo", works.skopeo)]
    for number in range(rounds):
        for name, command in sides[:: 1 if number % 2 else -1]:
            with _registry(works.folder / "registry") as host:
                pushes[name].append(_timed(command(host, image, "1")))
                target = works.folder / "pulled"
                pulls[name].append(_timed(_pull(name, image, host, target)))
                _same(works.layout, image, target)
                shutil.rmtree(target)
        print(
            f"round {number + 1}: push {pushes['ours'][-1]:.2f} s beside {pushes['skopeo'][-1]:.2f}"
            f" s, pull {pulls['ours'][-1]:.2f} s beside {pulls['skopeo'][-1]:.2f} s",
            file=sys.stderr,
        )
    size = sum(layer.descriptor.size for layer in image.layers) / MIB
    return [
        Comparison(f"push of {size:.0f} MiB", pushes["ours"], pushes["skopeo"], RATIO),
        Comparison(f"pull of {size:.0f} MiB", pulls["ours"], pulls["skopeo"], RATIO),
    ]


def _count(works: Works) -> list[tuple[str, int]]:
    """Count what each side sends of a version whose other layers are there."""
    found = []
    for name, command in (("kiln", works.ours), ("skopeo", works.skopeo)):
        with _registry(works.folder / "registry") as host:
            _timed(command(host, works.image, "1"))
            with _counter(int(host.partition(":")[2])) as counter:
                _timed(command(f"localhost:{counter.port}", works.second, "2"))
            found.append((name, counter.sent))
    return found


def _pull(name: str, image: Image, host: str, target: Path) -> list[str]:
    if name == "ours":
        return _ours("pull", target, image, host, "web-1")
    options = ["--all", "--preserve-digests", "--src-tls-verify=false"]
    return ["skopeo", "copy", *options, f"docker://{host}/web:1", f"oci:{target}:web-1"]


def _ours(verb: str, folder: Path, image: Image, host: str, tag: str) -> list[str]:
    program = [sys.executable, "-m", "tests.bench.registry_transfer"]
    return [*program, verb, str(folder), image.index.digest, f"http://{host}/web", tag]


def _timed(command: Sequence[str]) -> float:
    start = time.perf_counter()
    run(command)
    return time.perf_counter() - start


def _same(layout: Layout, image: Image, target: Path) -> None:
    """Nothing is measured of who does not copy all of it."""
    other = Layout(target)
    for digest in closure(layout, image.index.digest).sizes:
        if other.path(digest).stat().st_size != layout.path(digest).stat().st_size:
            raise DriverError(f"{target} has not {digest} as it was pushed.")


@contextlib.contextmanager
def _registry(folder: Path) -> Iterator[str]:
    """Run an empty registry for the block, and give its host and port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    folder.mkdir()
    (folder / "config.yml").write_text(CONFIG.format(data=folder / "data", port=port))
    with subprocess.Popen(
        ["docker-registry", "serve", str(folder / "config.yml")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for("the registry", lambda: _answers(port), timeout=30, interval=0.05)
            yield f"localhost:{port}"
        finally:
            process.terminate()
    shutil.rmtree(folder)


def _answers(port: int) -> bool | None:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return None


@contextlib.contextmanager
def _counter(upstream: int) -> Iterator[Counter]:
    """Give a way to the registry at port *upstream* that counts."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        counter = Counter(int(listening.getsockname()[1]))

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _address = listening.accept()
                    thread = threading.Thread(target=counter.join, args=(client, upstream))
                    counter.threads.append(thread)
                    thread.start()

        accepting = threading.Thread(target=serve)
        accepting.start()
        yield counter
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for thread in counter.threads:
            thread.join()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
