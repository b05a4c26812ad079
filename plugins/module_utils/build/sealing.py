# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sealing: layers and a definition become an OCI image, and the line that runs it. Pure but for
the writing of the image's documents."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from ..oci.digest import sha256_bytes
from ..oci.image import Healthcheck, HistoryLayer, Image, ImageConfig, write_image
from ..oci.layout import Layout
from .base import describe_epoch
from .definition_model import Definition, DiskSpec
from .engine import LABEL
from .records import BaseRecord, LayerRecord

STATE_LABEL = f"{LABEL}.state"
REPOSITORY = "kiln"


def config_manifest(definition: Definition) -> dict[str, Any]:
    """Return what *definition* says of the image beside its layers, as a part of the bake key."""
    config = definition.config
    check = config.healthcheck
    return {
        **examination_manifest(definition),
        **_disk_manifest(definition),
        "name": definition.name,
        "series": definition.series,
        "description": definition.description,
        "user": config.user,
        "entrypoint": config.entrypoint,
        "cmd": config.cmd,
        "env": list(config.env.items()),
        "ports": [str(port) for port in config.ports],
        "volumes": list(config.volumes),
        "working_dir": config.working_dir,
        "stop_signal": config.stop_signal,
        "labels": dict(config.labels),
        "healthcheck": None
        if check is None
        else [list(check.test), check.interval, check.timeout, check.start_period, check.retries],
        "state": [[s.path, s.kind, s.owner, s.mode] for s in definition.state],
    }


def examination_manifest(definition: Definition) -> dict[str, Any]:
    """What the image must pass: it enters no byte of it, but with more asked it is sealed anew."""
    asked = definition.seal
    if not asked.examines:
        return {}
    scan = asked.compliance
    return {
        "examination": {
            "compliance": None if scan is None else [scan.profile, scan.fail],
            "waivers": [[w.control, w.rule, w.reason] for w in definition.waivers] if scan else [],
            "goss": None if asked.goss is None else sha256_bytes(asked.goss.read_bytes()),
            "lynis": asked.lynis,
        }
    }


def _disk_manifest(definition: Definition) -> dict[str, Any]:
    return {} if definition.disk is None else {"disk": disk_manifest(definition.disk)}


def disk_manifest(disk: DiskSpec) -> dict[str, Any]:
    """Return what *disk* asks for, as a part of keys; its tests count by their content."""
    asked = asdict(replace(disk, tests=None))
    if disk.slots is None:
        # What nobody asked for is no part of the key.
        del asked["slots"]
    if disk.tests is not None:
        path = disk.tests.path
        files = [path] if path.is_file() else sorted(path.rglob("*.py"))
        found = [[file.name, sha256_bytes(file.read_bytes())] for file in files]
        asked["tests"] = [disk.tests.user, found]
    return asked


def image_config(definition: Definition, base: BaseRecord, epoch: int) -> ImageConfig:
    """Return the OCI configuration that *definition* asks for.

    State volumes become OCI volumes, so an engine gives each container one even without options.
    tmpfs state has no place in OCI's configuration: a label tells it to whoever starts instances.
    """
    config = definition.config
    check = config.healthcheck
    volumes = [*config.volumes, *(s.path for s in definition.state if s.kind == "volume")]
    labels = {
        f"{LABEL}.image": definition.name,
        "org.opencontainers.image.title": definition.name,
        "org.opencontainers.image.created": describe_epoch(epoch),
        f"{LABEL}.suite": base.suite,
        **config.labels,
    }
    if definition.description:
        labels["org.opencontainers.image.description"] = definition.description
    if definition.state:
        labels[STATE_LABEL] = json.dumps(
            [
                {"path": s.path, "kind": s.kind, "owner": s.owner, "mode": s.mode}
                for s in definition.state
            ],
            sort_keys=True,
        )
    return ImageConfig(
        architecture=base.architecture,
        created=epoch,
        user=config.user,
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        env=tuple(config.env.items()),
        ports=tuple(str(port) for port in config.ports),
        volumes=tuple(dict.fromkeys(volumes)),
        working_dir=config.working_dir,
        labels=labels,
        stop_signal=config.stop_signal,
        healthcheck=None
        if check is None
        else Healthcheck(
            check.test, check.interval, check.timeout, check.start_period, check.retries
        ),
    )


def seal(
    layout: Layout, definition: Definition, base: BaseRecord, layers: Sequence[LayerRecord]
) -> Image:
    """Write the image of *base* and *layers* into *layout*.

    It does not hold its own version number: the same content is the same bytes, whatever it is
    called later.
    """
    steps = [HistoryLayer(layer, f"kiln: base {base.suite}") for layer in base.layers]
    steps += [HistoryLayer(record.layer, f"kiln: {record.name}") for record in layers]
    return write_image(layout, image_config(definition, base, base.epoch), steps, {})


def reference(name: str, version: str) -> str:
    """Return the name under which the engine holds a version."""
    return f"{REPOSITORY}/{name}:{version}"


def run_line(definition: Definition, image: str) -> str:
    """Return the one command that runs *image* as it is meant: nothing writable but its state."""
    argv = ["docker", "run", "--detach", "--read-only", "--cap-drop", "ALL"]
    argv += ["--security-opt", "no-new-privileges"]
    for state in definition.state:
        uid, _colon, gid = state.owner.partition(":")
        if state.kind == "tmpfs":
            argv += ["--tmpfs", f"{state.path}:uid={uid},gid={gid},mode={state.mode}"]
        else:
            volume = definition.name + state.path.replace("/", "-")
            argv += ["--volume", f"{volume}:{state.path}"]
    for port in definition.config.ports:
        argv += ["--publish", f"{port.number}:{port}"]
    return shlex.join([*argv, image])
