# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of small machines, baked once, and a bench on which they are looked at and booted."""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import (
    Definition,
    load,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.artefact import (
    DiskArtefact,
    disks_of,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.workbench import (
    Workbench,
    disk_spec,
    workbench,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.records import Cache
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import ensure_toolbox
from ansible_collections.kiln.immutable.plugins.module_utils.oci.descriptor import (
    INDEX,
    Descriptor,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import Image, read_image
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

DEFINITION = Path(__file__).parent / "images" / "disk-bookworm.yml"
LIMIT = 1500  # seconds that the bakes may take, when nothing of them is there


@dataclass(frozen=True, slots=True)
class Baked:
    """A version with disks, as the store has it.

    :param page: of its report, as text.
    """

    definition: Definition
    layout: Layout
    image: Image
    disks: dict[str, DiskArtefact]
    page: str

    @property
    def epoch(self) -> int:
        """The time that is that of everything in it."""
        created = json.loads(self.layout.read(self.image.config))["created"]
        return int(datetime.fromisoformat(created).timestamp())


@pytest.fixture(scope="session")
def home() -> Home:
    """Return the home that the bakes use."""
    return Home.at(None)


@pytest.fixture(scope="session")
def baked(checkout: Path, home: Home) -> Iterator[Baked]:
    """Return the version of the definition here, baked unless it is there."""
    before = set(Engine().references("kiln/disk-bookworm:*"))
    done = subprocess.run(
        [
            sys.executable,
            str(Path(sys.executable).with_name("ansible-playbook")),
            "kiln.immutable.bake",
            "--inventory=localhost,",
            f"--extra-vars=kiln_images={DEFINITION}",
        ],
        env={**os.environ, "ANSIBLE_NOCOLOR": "true", "COLUMNS": "1000"},
        cwd=checkout,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    layout = Layout(home.store)
    record = Cache(home.cache, layout).latest(DEFINITION.stem)
    assert record is not None
    index = Descriptor(INDEX, record.index, layout.path(record.index).stat().st_size)
    disks = {one.format: one for one in disks_of(layout, index)}
    page = home.root / "reports" / record.name / f"{record.version}.html"
    image = read_image(layout, index)
    yield Baked(load(DEFINITION), layout, image, disks, html.unescape(page.read_text("utf-8")))
    for name in set(Engine().references("kiln/disk-bookworm:*")) - before:
        Engine().remove_image(name)


@pytest.fixture(scope="module")
def bench(baked: Baked, home: Home) -> Iterator[Workbench]:
    """Return a bench with the tools that disks are made with."""
    toolbox = ensure_toolbox(disk_spec(), engine=Engine(), home=home)
    epoch = baked.epoch
    with workbench(toolbox, name="test", session=uuid.uuid4().hex[:8], epoch=epoch) as made:
        yield made


@pytest.fixture(scope="session")
def console(baked: Baked) -> str:
    """Return what the machine said when it was booted, as the version's report has it."""
    return baked.page
