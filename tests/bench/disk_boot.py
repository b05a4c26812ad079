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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import load
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import DiskSpec
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.assembly import (
    DISK,
    Assembled,
    assemble,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.machine import (
    Drive,
    Machine,
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
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import Image, read_image
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
_ROLE = "  - role: kiln.immutable.{}\n"
# A plain Debian has neither; host keys it has from the installation of its SSH server.
_UNHARDENED = (
    (_ROLE.format("firewall"), ""),
    (_ROLE.format("hardening"), _ROLE.format("hardening_ssh")),
)
CASES = (
    "from power to a page",
    "the same, plain Debian's kernel told what ours is",
    "neither is hardened",
    "neither is hardened, ours an ext4 root that a BIOS starts too",
)
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
    """Boot each disk of ours beside a plain one, *rounds* times; return the seconds until a page.

    All pairs are there before the first is booted.
    """
    with ExitStack() as stack:
        hardened, spec = baked(stack, scratch / "hardened")
        unhardened, _same = baked(stack, scratch / "unhardened", *_UNHARDENED)
        plain_bios = replace(spec, root="ext4", boot="bios")
        ours = [
            stack.enter_context(laid(layout, image.layers, one, image.manifest.digest))
            for (layout, image), one in (
                (hardened, spec),
                (unhardened, spec),
                (unhardened, plain_bios),
            )
        ]
        layout, layer = plain_root(scratch)
        plain = stack.enter_context(plain_disk(layout, layer, ()))
        told = stack.enter_context(plain_disk(layout, layer, hardening_words()))
        pairs = [(ours[0], plain), (ours[0], told), (ours[1], plain), (ours[2], plain)]
        taken: list[tuple[list[float], list[float]]] = [([], []) for _pair in pairs]
        both = stack.enter_context(ThreadPoolExecutor(2))
        for _round in range(rounds):
            for seconds, pair in zip(taken, pairs, strict=True):
                for side, found in zip(
                    seconds, both.map(seconds_to_serve, pair, (8080, 80)), strict=True
                ):
                    side.append(found)
    return [
        Comparison(title, *seconds, limit)
        for title, limit, seconds in zip(CASES, (LIMIT, None, LIMIT, LIMIT), taken, strict=True)
    ]


def hardening_words() -> tuple[str, ...]:
    """Return what the role ``hardening_kernel`` tells the kernel of our disk."""
    defaults = CHECKOUT / "roles/hardening_kernel/defaults/main.yml"
    return tuple(yaml.safe_load(defaults.read_text("utf-8"))[_WORDS])


@dataclass(frozen=True, slots=True)
class Laid:
    """A disk on a bench, and what starts it: ``uefi`` or ``bios``."""

    bench: Workbench
    made: Assembled
    firmware: str


def baked(
    stack: ExitStack, scratch: Path, *changes: tuple[str, str]
) -> tuple[tuple[Layout, Image], DiskSpec]:
    """Return the image of examples/disks/web-vm.yml, baked unless it is there, and its disk.

    :param stack: takes it out of the engine.
    :param changes: of the definition's text: what is there, and what is to be.
    """
    definition = lay_definition(scratch)
    text = definition.read_text("utf-8")
    for old, new in changes:
        if old not in text:
            raise SystemExit(f"bench: the example says no more: {old}")
        text = text.replace(old, new)
    definition.write_text(text, "utf-8")
    stack.callback(_forget)
    bake(definition)
    spec = load(definition).disk
    if spec is None:
        raise SystemExit("bench: the example has no disk")
    layout, index = last_version()
    return (layout, read_image(layout, index)), spec


def _forget() -> None:
    engine = Engine()
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
        made = assemble(bench, tree, spec, image=NAME, seed=seed, architecture="amd64")
        yield Laid(bench, made, spec.boot)


def seconds_to_serve(disk: Laid, port: int) -> float:
    """Return how long *disk* takes from power to a page on *port*."""
    with serving(disk, port, Drive(f"{FOLDER}/{DISK}")) as (seconds, _machine):
        return seconds


@contextmanager
def serving(disk: Laid, port: int, drive: Drive) -> Iterator[tuple[float, Machine]]:
    """Boot *drive* of *disk*'s bench; give the seconds until it served a page, and the machine.

    :param port: that the guest serves on.
    """
    toolbox = ensure_toolbox(machine_spec(), engine=Engine(), home=Home.at(None))
    spec = MachineSpec((drive,), firmware=disk.firmware, ports={port: PORT})
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
        yield time.monotonic() - started, it


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
