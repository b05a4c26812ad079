# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how long a disk of ours takes to serve a page, beside a plain Debian disk with nginx.

    make bench BENCH=disk_boot

Both are booted by QEMU's translator, at the same time and each on a core, so that what else the
host does meets both. It ends with 1 when the promised ratio was missed; docs/performance.md says
what is measured.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import load
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import DiskSpec
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.assembly import (
    DISK,
    assemble,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.machine import (
    Drive,
    MachineSpec,
    last_words,
    machine,
    machine_spec,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.workbench import (
    FOLDER,
    Workbench,
    disk_spec,
    workbench,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import ensure_toolbox
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import read_image
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import Layer, store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.tree import read_tree

from .disk import NAME, bake, last_version, lay_definition
from .sheet import Comparison, bench_parser, compared, show
from .sheet import Machine as Host

CHECKOUT = Path(__file__).parents[2]
LIMIT = 1.0
PATIENCE = 600
PORT = 8000
# In the machine's container, so that asking costs next to nothing of what is measured.
_ASK = """\
until printf 'GET / HTTP/1.0\\r\\n\\r\\n' | socat -t 2 -T 2 - "TCP:127.0.0.1:$0" 2> /dev/null |
  head -n 1 | grep -q ' 200 '
do
  sleep 0.2
done
"""
_WORDS = "hardening_kernel_command_line_options"
PLAIN_PACKAGES = (
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "systemd-sysv",
    "systemd-resolved",
    "dbus",
    "cloud-init",
    "openssh-server",
    "nftables",
    "sudo",
    "nginx",
)
"""What Debian's own cloud image has of the example's, and nginx."""

_NETWORK = "[Match]\\nName=e*\\n[Network]\\nDHCP=yes\\n"
_HOOKS = (
    f'printf "{_NETWORK}" > "$1/etc/systemd/network/80-dhcp.network"',
    'chroot "$1" systemctl enable systemd-networkd',
)


def main(arguments: Sequence[str]) -> int:
    """Run the bench; return the exit status."""
    options = bench_parser("disk_boot", __doc__, rounds=3).parse_args(arguments)
    host = Host.now(("Docker Engine", Engine().facts().version))
    with tempfile.TemporaryDirectory(prefix="kiln-bench-") as scratch:
        found = measure(Path(scratch), options.rounds)
    lines = compared(host, options.rounds, found, "kiln", "plain Debian")
    show("disk_boot", arguments, options.write, lines)
    return 0 if all(case.met for case in found) else 1


def measure(scratch: Path, rounds: int) -> list[Comparison]:
    """Boot our disk beside each plain one, *rounds* times; return the seconds until each serves."""
    ours: list[list[float]] = [[], []]
    theirs: list[list[float]] = [[], []]
    with our_disk(scratch) as mine:
        layout, layer = plain_root(scratch)
        with (
            plain_disk(layout, layer, ()) as plain,
            plain_disk(layout, layer, hardening_words()) as told,
            ThreadPoolExecutor(2) as both,
        ):
            for _round in range(rounds):
                for case, other in enumerate((plain, told)):
                    times = both.map(seconds_to_serve, (mine, other), (8080, 80))
                    for seconds, taken in zip((ours[case], theirs[case]), times, strict=True):
                        seconds.append(taken)
    return [
        Comparison("from power to a page", ours[0], theirs[0], LIMIT),
        Comparison("the same, plain Debian's kernel told what ours is", ours[1], theirs[1]),
    ]


def hardening_words() -> tuple[str, ...]:
    """Return what the role ``hardening_kernel`` tells the kernel of our disk."""
    defaults = CHECKOUT / "roles/hardening_kernel/defaults/main.yml"
    return tuple(yaml.safe_load(defaults.read_text("utf-8"))[_WORDS])


@dataclass(frozen=True, slots=True)
class Laid:
    """A disk on a bench, and what starts it: ``uefi`` or ``bios``."""

    bench: Workbench
    firmware: str


@contextmanager
def our_disk(scratch: Path) -> Iterator[Laid]:
    """Give a bench with the disk of examples/disks/web-vm.yml, baked unless it is there."""
    definition = lay_definition(scratch)
    engine = Engine()
    try:
        bake(definition)
        spec = load(definition).disk
        if spec is None:
            raise SystemExit("bench: the example has no disk")
        layout, index = last_version()
        image = read_image(layout, index)
        with laid(layout, image.layers, spec, image.manifest.digest) as one:
            yield one
    finally:
        for reference in engine.references(f"kiln/{NAME}:*"):
            engine.remove_image(reference)


def plain_root(scratch: Path) -> tuple[Layout, Layer]:
    """Return what mmdebstrap makes, with Debian's own initrd, as a layer."""
    tar = scratch / "plain.tar"
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(PLAIN_PACKAGES)}",
    ]
    command += [f"--customize-hook={hook}" for hook in _HOOKS]
    subprocess.run([*command, "bookworm", str(tar)], check=True)
    layout = Layout(scratch / "plain")
    layout.ensure()
    with tar.open("rb") as stream:
        layer = store_layer(layout, iter(lambda: stream.read(1 << 20), b""))
    if layer is None:
        raise SystemExit("bench: mmdebstrap made nothing")
    tar.unlink()
    return layout, layer


@contextmanager
def plain_disk(layout: Layout, layer: Layer, words: tuple[str, ...]) -> Iterator[Laid]:
    """Give a disk of a plain root, whose kernel is told *words*."""
    spec = DiskSpec(("raw",), root="ext4", writable=True, boot="bios", command_line=words)
    with laid(layout, [layer], spec, layer.diff_id) as one:
        yield one


@contextmanager
def laid(layout: Layout, layers: Sequence[Layer], spec: DiskSpec, seed: str) -> Iterator[Laid]:
    """Give a bench with the disk of *layers*."""
    toolbox = ensure_toolbox(disk_spec(), engine=Engine(), home=Home.at(None))
    session = uuid.uuid4().hex[:8]
    with workbench(toolbox, name="boot-bench", session=session, epoch=0) as bench:
        tree = read_tree(layout, layers)
        assemble(bench, tree, spec, image=NAME, seed=seed, architecture="amd64")
        bench.run("truncate", "--size=64M", "state.raw")
        yield Laid(bench, spec.boot)


def seconds_to_serve(disk: Laid, port: int) -> float:
    """Return how long *disk* takes from power to a page on *port*."""
    toolbox = ensure_toolbox(machine_spec(), engine=Engine(), home=Home.at(None))
    drives = (Drive(f"{FOLDER}/{DISK}"),)
    spec = MachineSpec(drives, firmware=disk.firmware, ports={port: PORT})
    started = time.monotonic()
    with machine(
        toolbox,
        spec,
        name="boot-bench",
        session=uuid.uuid4().hex[:8],
        options=["--volumes-from", f"{disk.bench.container}:ro"],
    ) as it:
        ask = ["timeout", str(PATIENCE), "sh", "-c", _ASK, str(PORT)]
        if it.engine.execute(it.container, ask, check=False).status != 0:
            raise SystemExit(f"bench: no page came: {last_words(it.console, 20)}")
        return time.monotonic() - started


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
