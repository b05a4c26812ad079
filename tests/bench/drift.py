# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how long it takes to find out that an instance of 10,000 files is what was baked.

    make bake && make bench BENCH=drift

It ends with 1 when a promised figure was missed. docs/performance.md says what is measured.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import secrets
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ansible_collections.kiln.immutable.plugins.module_utils.build.build_container import load_image
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.workshop import Workshop
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.version import Version
from ansible_collections.kiln.immutable.plugins.module_utils.drift.exported import read_export
from ansible_collections.kiln.immutable.plugins.module_utils.drift.findings import Report
from ansible_collections.kiln.immutable.plugins.module_utils.drift.instance import find_instances
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    Healthcheck,
    HistoryLayer,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.trust.examination import examine
from ansible_collections.kiln.immutable.plugins.module_utils.trust.notary import keep_statements
from ansible_collections.kiln.immutable.plugins.plugin_utils.drift_check import (
    checker_of,
    expectation,
)
from ansible_collections.kiln.immutable.plugins.plugin_utils.manifests import keep_manifest

from .sheet import Machine, bench_parser, rounds_in_words, show, spread

FILES = 10_000
LIMIT = 3.0
ROOT = Path(__file__).resolve().parents[2]
STATE = ("/run/nginx", "/var/cache/nginx")
_EXAMPLE = "kiln/web"
_TAMPERED = "/usr/share/kiln-bench/00/0"


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table, and put it into the page that is named."""
    options = bench_parser("drift", __doc__, rounds=5).parse_args(arguments)
    engine = _docker("version", "--format", "{{.Server.Version}}").decode().strip()
    machine = Machine.now(("Docker", engine), ("Python", sys.version.split()[0]))
    name = f"kiln-bench-drift-{secrets.token_hex(3)}"
    with tempfile.TemporaryDirectory(prefix="kiln-bench-") as scratch:
        shop = Workshop.at(Home.at(scratch))
        version, files, size = _large_image(shop, name)
        tag = f"kiln/{name}:{version.number}"
        try:
            _start(name, version)
            cases = _measure(shop, version, name, options.rounds)
        finally:
            subprocess.run(["docker", "rm", "--force", "--volumes", name], check=False)
            subprocess.run(["docker", "image", "rm", tag], check=False)
    rows = ["| what | seconds | promised | |", "|---|---|---|---|"]
    for case, (limit, figures) in cases.items():
        promised = "" if limit is None else f"at most {limit:g}"
        verdict = "" if limit is None else "met" if median(figures) <= limit else "missed"
        rows.append(f"| {case} | {spread(figures, 2)} | {promised} | {verdict} |")
    lines = [
        *machine.lines,
        "",
        (
            f"An instance of {files:,} files, {size / (1 << 20):.0f} MiB,"
            f" {rounds_in_words(options.rounds)}:"
        ),
        "",
        *rows,
    ]
    show("drift", arguments, options.write, lines)
    met = (limit is None or median(figures) <= limit for limit, figures in cases.values())
    return 0 if all(met) else 1


def _measure(
    shop: Workshop, version: Version, name: str, rounds: int
) -> dict[str, tuple[float | None, list[float]]]:
    """Return the seconds of each case, by round, and what is promised of it."""
    cases: dict[str, tuple[float | None, list[float]]] = {
        "the check": (LIMIT, []),
        "the check, a flipped byte found": (LIMIT, []),
        "the whole run of `ansible-playbook`": (None, []),
        "for comparison: `docker export`, hashed here": (None, []),
        "for comparison: `docker diff`, which reads no file": (None, []),
    }
    (whole, tampered, played, exported, changed) = (figures for _limit, figures in cases.values())
    for number in range(rounds + 1):
        clean = _timed(lambda: _check(shop, version, name, drifted=False))
        play = _timed(lambda: _play(shop, name))
        export = _timed(lambda: _read_export(name))
        diff = _timed(lambda: _docker("diff", name))
        flip = f"dd of={_TAMPERED} bs=1 seek=700 conv=notrunc 2> /dev/null"
        shell = f"touch -r {_TAMPERED} /dev/shm/at; printf X | {flip}; touch -r /dev/shm/at"
        shell += f" {_TAMPERED}; rm /dev/shm/at"
        _docker("exec", "--user", "0", name, "sh", "-c", shell)
        found = _timed(lambda: _check(shop, version, name, drifted=True))
        # As it was: the next round begins with a clean instance.
        _docker("rm", "--force", "--volumes", name)
        _start(name, version)
        # The first round fills the caches of the file system, and is not counted.
        if number:
            for figures, seconds in (
                (whole, clean),
                (tampered, found),
                (played, play),
                (exported, export),
                (changed, diff),
            ):
                figures.append(seconds)
    return cases


def _start(name: str, version: Version) -> None:
    state = [f"--tmpfs={path}:uid=33,gid=33,mode=0750" for path in STATE]
    _docker("run", "--detach", "--name", name, *state, f"kiln/{name}:{version.number}")


def _check(shop: Workshop, version: Version, name: str, *, drifted: bool) -> Report:
    """Do what the action does: from the names to the report."""
    instances = find_instances([name])
    pairs = [(one, expectation(shop, version)) for one in instances]
    checker = checker_of(shop, "", mirror=None, say=lambda text: None)
    (report,) = checker.check(pairs)
    if report.drifted is not drifted:
        raise RuntimeError(f"The check is wrong: {report.as_json()}")
    return report


def _play(shop: Workshop, name: str) -> None:
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [
            *(sys.executable, str(program), str(ROOT / "playbooks" / "drift.yml")),
            *("-e", f"kiln_instances={name}"),
        ],
        env={**os.environ, "KILN_HOME": str(shop.home.root)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)


def _read_export(name: str) -> None:
    (instance,) = find_instances([name])
    read_export(Engine().export(name), instance)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _large_image(shop: Workshop, name: str) -> tuple[Version, int, int]:
    """Record a version of the example's files and as many more as make 10,000.

    Returns it with the number and the bytes of its files.
    """
    layout = shop.layout
    layout.ensure()
    names = _docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", _EXAMPLE).decode()
    if not names.split():
        raise SystemExit(f"The engine has no {_EXAMPLE}: make bake first.")
    saved = io.BytesIO(_docker("save", names.split()[0]))
    with tarfile.open(fileobj=saved) as archive:

        def member(path: str) -> bytes:
            stream = archive.extractfile(path)
            return b"" if stream is None else stream.read()

        (about,) = json.loads(member("manifest.json"))
        config = json.loads(member(about["Config"]))
        tars = [member(path) for path in about["Layers"]]
    there = sum(_files(tar) for tar in tars)
    tars.append(b"".join(_more_files(max(1, FILES - there))))
    layers = [layer for tar in tars if (layer := store_layer(layout, [tar], level=1)) is not None]
    config["config"]["Labels"]["io.kiln.image"] = name
    image = write_image(
        layout, _configured(config), [HistoryLayer(layer, "bench") for layer in layers]
    )
    load_image(layout, shop.engine, image, [f"kiln/{name}:1.0.1"], whole=True)
    keep_statements(
        layout, image, name, [keep_manifest(layout, image, examine(layout, image.layers))]
    )
    digest = "sha256:" + hashlib.sha256(name.encode()).hexdigest()

    def made(number: object) -> Version:
        return Version(
            image=name,
            number=str(number),
            index=image.index.digest,
            config=image.config.digest,
            bake_key=digest,
            definition_digest=digest,
            definition_revision=None,
            created="2026-01-01T00:00:00Z",
            size=0,
            base="debootstrap",
        )

    version, _new = Catalog(shop.home.catalog).record(name, "1.0", image.index.digest, made)
    return version, there + max(1, FILES - there), sum(layer.size for layer in layers)


def _configured(document: Mapping[str, Any]) -> ImageConfig:
    """Return what containers of the image with the configuration *document* start with."""
    config = document["config"]
    pairs = (one.partition("=") for one in config.get("Env") or ())
    return ImageConfig(
        architecture=document["architecture"],
        created=0,
        user=config.get("User", ""),
        entrypoint=tuple(config["Entrypoint"]),
        cmd=tuple(config.get("Cmd") or ()),
        env=tuple((key, value) for key, _sign, value in pairs),
        ports=tuple(config.get("ExposedPorts") or ()),
        labels=config["Labels"],
        stop_signal=config.get("StopSignal", ""),
        healthcheck=Healthcheck(tuple(config["Healthcheck"]["Test"])),
    )


def _files(tar: bytes) -> int:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return sum(info.isreg() for info in archive)


def _more_files(count: int) -> Iterator[bytes]:
    """Give the tar of *count* files of 1 to 24 KiB, whose bytes are always the same."""
    numbers = random.Random(count)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for at in range(count):
            info = tarfile.TarInfo(f"usr/share/kiln-bench/{at % 16:02}/{at}")
            info.size = numbers.randrange(1 << 10, 24 << 10)
            archive.addfile(info, io.BytesIO(numbers.randbytes(info.size)))
    yield stream.getvalue()


def _docker(*arguments: str) -> bytes:
    return subprocess.run(["docker", *arguments], capture_output=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
