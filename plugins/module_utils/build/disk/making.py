# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a sealed image to its disks in the store: assembled, booted, written in each format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ...core.canonical import digest, encode
from ...core.errors import DriverError
from ...core.files import write_whole
from ...oci.image import Image
from ...oci.layout import Layout
from ...oci.tree import read_tree
from ..definition_model import DiskSpec
from ..sealing import disk_manifest
from ..toolbox import Toolbox, ToolboxSpec, ensure_toolbox
from ..workshop import Sealed, Workshop
from .artefact import DiskArtefact, store_disk, with_disks
from .assembly import Assembled, assemble
from .boot_test import boot_disk
from .formats import write_format, written_forms
from .machine import machine_spec
from .slots import PARTS
from .workbench import Workbench, disk_spec, workbench

Made = TypeVar("Made")

_FORM = 5
"""Counts up when disks of the same image come to be of other bytes."""


@dataclass(frozen=True, slots=True)
class Disks:
    """The disks of an image, and what became of the test that booted them.

    :param booted: seconds until it was up, units that failed, and where its console is; empty for
        a disk that was not booted.
    :param version: the number that they bear; empty for disks that bear none.
    """

    artefacts: tuple[DiskArtefact, ...]
    command_line: str
    root_hash: str
    booted: Mapping[str, Any] = field(default_factory=dict, hash=False)
    version: str = ""

    def as_json(self) -> dict[str, Any]:
        """The disks as JSON-able values."""
        return {
            "artefacts": [one.as_json() for one in self.artefacts],
            "command_line": self.command_line,
            "root_hash": self.root_hash,
            "booted": dict(self.booted),
            "version": self.version,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Disks:
        """The inverse of as_json."""
        return cls(
            tuple(DiskArtefact.from_json(one) for one in value["artefacts"]),
            str(value["command_line"]),
            str(value["root_hash"]),
            dict(value["booted"]),
            str(value.get("version", "")),
        )


class Numbers(Protocol):
    """What is known of the numbers of an image's versions."""

    def given(self, bake_key: str) -> Sequence[str]:
        """Return those that bakes with this key got."""

    def of(self, index: str) -> str:
        """Return the one that the index *index* has, or would get now."""


def make_disks(
    shop: Workshop,
    sealed: Sealed,
    spec: DiskSpec,
    *,
    session: str,
    say: Callable[[str], None],
    numbers: Numbers,
    mirror: str | None = None,
) -> tuple[Sealed, Disks]:
    """Return *sealed* with its disks in its index, and the disks.

    Disks that were made of the same image before, and booted, are taken as they are.

    :param numbers: tells disks that bear their version's number which one that is.
    :param mirror: of the Debian archive that toolboxes are made from.

    Raises DriverError for an image that cannot boot, does not come up, or gets another number
    meanwhile than its disks bear.
    """
    work = _Work(shop, sealed, spec, session, say, mirror)
    if spec.slots is None:
        return work.disks("")
    made = bearing_its_number(
        numbers, sealed.bake_key, work.disks, lambda made: made[0].image.index.digest
    )
    if made is None:
        raise taken(sealed.definition.name)
    return made


def bearing_its_number(
    numbers: Numbers, bake_key: str, make: Callable[[str], Made], index_of: Callable[[Made], str]
) -> Made | None:
    """Return what *make* gives for the number that its index then has; None when there is none.

    What was baked before bears the number that it got then, and has it still when it came to the
    same bytes; anything else gets the next one.
    """
    for number in dict.fromkeys([*numbers.given(bake_key), numbers.of("")]):
        made = make(number)
        if numbers.of(index_of(made)) == number:
            return made
    return None


def taken(name: str) -> DriverError:
    """Return what is said when disks bear a number that is another version's by now."""
    return DriverError(
        f"Another bake of {name} got its version while the disks of this one were made, which bear"
        " the same number.",
        hint="Run the bake again.",
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """One image, and where its disks are made."""

    shop: Workshop
    sealed: Sealed
    spec: DiskSpec
    session: str
    say: Callable[[str], None]
    mirror: str | None

    def disks(self, version: str) -> tuple[Sealed, Disks]:
        """Return the image with its disks, which bear *version* when they are of a kind that does,
        and the disks."""
        asked = {"form": _FORM, "image": self.seed, "disk": disk_manifest(self.spec)}
        asked["tools"] = disk_spec(self.mirror).packages
        key = digest({**asked, **({"version": version} if version else {})})
        home, layout = self.shop.home, self.shop.layout
        record = home.cache / "disks" / f"{key.removeprefix('sha256:')}.json"
        made = _kept(record, layout)
        if made is None:
            made = self._make(version, home.root / "reports" / self.name / f"disk-{key[7:19]}")
            write_whole(record, encode(made.as_json()) + b"\n")
        image = with_disks(layout, self.sealed.image, made.artefacts)
        return replace(self.sealed, image=image), made

    @property
    def name(self) -> str:
        """The name of the image."""
        return self.sealed.definition.name

    @property
    def seed(self) -> str:
        """What all ids come from."""
        return self.sealed.image.manifest.digest

    def _make(self, version: str, reports: Path) -> Disks:
        toolbox = self._toolbox(disk_spec(self.mirror))
        self.say(f"Making the disk of {self.name}: {', '.join(self.spec.formats)}")
        epoch = self.sealed.base.epoch
        with workbench(
            toolbox,
            name=self.name,
            session=self.session,
            epoch=epoch,
            expected=expected_bytes(self.sealed.image, self.spec),
        ) as bench:
            laid = assemble(
                bench,
                read_tree(self.shop.layout, self.sealed.image.layers),
                self.spec,
                image=self.name,
                seed=self.seed,
                architecture=self.sealed.base.architecture,
                version=version,
            )
            artefacts = store_forms(self.shop.layout, bench, laid, self.spec, self.name)
            made = Disks(artefacts, laid.command_line, laid.root_hash, version=version)
            if not self.spec.boot_test:
                return made
            machines = self._toolbox(machine_spec(self.mirror))
            self.say(f"Booting the disk of {self.name}")
            booted = boot_disk(machines, bench, self.spec, name=self.name, folder=reports)
            return replace(made, booted=booted)

    def _toolbox(self, spec: ToolboxSpec) -> Toolbox:
        shop = self.shop
        return ensure_toolbox(
            spec, engine=shop.engine, home=shop.home, session=self.session, say=self.say
        )


def store_forms(
    layout: Layout, bench: Workbench, laid: Assembled, spec: DiskSpec, name: str
) -> tuple[DiskArtefact, ...]:
    """Write the disk that lies on *bench* in each of the formats of *spec* into *layout*.

    :param name: of the image.
    """
    ids = {one.part.name: str(one.part.id) for one in laid.table.partitions}
    return tuple(
        store_disk(
            layout,
            write_format(bench, laid, form, packed=spec.root == "erofs"),
            form=form,
            name=name,
            size=bench.size(PARTS[form]) if form in PARTS else laid.table.size,
            root_hash=laid.root_hash,
            # The kernel is a file of a partition, and the others are all of one.
            partition=ids.get(form, "") if form in PARTS else "",
        )
        for form in written_forms(spec.formats)
    )


def expected_bytes(image: Image, spec: DiskSpec) -> int:
    """Return about how many bytes the files take from which the disks of *image* come.

    A root, its place in the disk, and each format; layers are compressed to a third of their size.
    """
    root = 3 * sum(layer.descriptor.size for layer in image.layers)
    state = spec.state.size // 32 if spec.state is not None else 0
    return (root + state) * (2 + len(spec.formats))


def _kept(record: Path, layout: Layout) -> Disks | None:
    try:
        made = Disks.from_json(json.loads(record.read_bytes()))
    except (FileNotFoundError, ValueError, LookupError, TypeError, DriverError):
        return None
    blobs = [digest for one in made.artefacts for digest in (one.manifest, one.blob)]
    return made if all(layout.has(blob.digest) for blob in blobs) else None
