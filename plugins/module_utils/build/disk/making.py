# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a sealed image to its disks in the store: assembled, booted, written in each format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...core.canonical import digest, encode
from ...core.errors import DriverError
from ...core.files import write_whole
from ...oci.layout import Layout
from ...oci.tree import read_tree
from ..definition_model import DiskSpec
from ..sealing import disk_manifest
from ..toolbox import ensure_toolbox
from ..workshop import Sealed, Workshop
from .artefact import DiskArtefact, store_disk, with_disks
from .assembly import assemble
from .boot_test import boot_disk
from .formats import write_format
from .machine import machine_spec
from .workbench import disk_spec, workbench

_FORM = 2
"""Counts up when disks of the same image come to be of other bytes."""


@dataclass(frozen=True, slots=True)
class Disks:
    """The disks of an image, and what became of the test that booted them.

    :param booted: seconds until it was up, units that failed, and where its console is; empty for
        a disk that was not booted.
    """

    artefacts: tuple[DiskArtefact, ...]
    command_line: str
    root_hash: str
    booted: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def as_json(self) -> dict[str, Any]:
        """The disks as JSON-able values."""
        return {
            "artefacts": [one.as_json() for one in self.artefacts],
            "command_line": self.command_line,
            "root_hash": self.root_hash,
            "booted": dict(self.booted),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Disks:
        """The inverse of as_json."""
        return cls(
            tuple(DiskArtefact.from_json(one) for one in value["artefacts"]),
            str(value["command_line"]),
            str(value["root_hash"]),
            dict(value["booted"]),
        )


def make_disks(
    shop: Workshop,
    sealed: Sealed,
    spec: DiskSpec,
    *,
    session: str,
    say: Callable[[str], None],
    mirror: str | None = None,
) -> tuple[Sealed, Disks]:
    """Return *sealed* with its disks in its index, and the disks.

    Disks that were made of the same image before, and booted, are taken as they are.

    :param mirror: of the Debian archive that toolboxes are made from.
    """
    name = sealed.definition.name
    seed = sealed.image.manifest.digest
    box = disk_spec(mirror)
    key = digest({"form": _FORM, "image": seed, "disk": disk_manifest(spec), "tools": box.packages})
    record = shop.home.cache / "disks" / f"{key.removeprefix('sha256:')}.json"
    made = _kept(record, shop.layout)
    if made is None:
        toolbox = ensure_toolbox(box, engine=shop.engine, home=shop.home, session=session, say=say)
        say(f"Making the disk of {name}: {', '.join(spec.formats)}")
        with workbench(toolbox, name=name, session=session, epoch=sealed.base.epoch) as bench:
            tree = read_tree(shop.layout, sealed.image.layers)
            laid = assemble(
                bench,
                tree,
                spec,
                image=name,
                seed=seed,
                architecture=sealed.base.architecture,
            )
            artefacts = tuple(
                store_disk(
                    shop.layout,
                    write_format(bench, laid, form, packed=spec.root == "erofs"),
                    form=form,
                    name=name,
                    size=laid.table.size,
                    root_hash=laid.root_hash,
                )
                for form in spec.formats
            )
            made = Disks(artefacts, laid.command_line, laid.root_hash)
            if spec.boot_test:
                machines = ensure_toolbox(
                    machine_spec(mirror),
                    engine=shop.engine,
                    home=shop.home,
                    session=session,
                    say=say,
                )
                say(f"Booting the disk of {name}")
                folder = shop.home.root / "reports" / name / f"disk-{key[7:19]}"
                made = replace(
                    made, booted=boot_disk(machines, bench, spec, name=name, folder=folder)
                )
        write_whole(record, encode(made.as_json()) + b"\n")
    image = with_disks(shop.layout, sealed.image, made.artefacts)
    return replace(sealed, image=image), made


def _kept(record: Path, layout: Layout) -> Disks | None:
    try:
        made = Disks.from_json(json.loads(record.read_bytes()))
    except (FileNotFoundError, ValueError, LookupError, TypeError, DriverError):
        return None
    blobs = [digest for one in made.artefacts for digest in (one.manifest, one.blob)]
    return made if all(layout.has(blob.digest) for blob in blobs) else None
