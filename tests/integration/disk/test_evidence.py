# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that does not come up in a real machine: what is kept of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import DiskSpec
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.assembly import DISK
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.boot_test import boot_disk
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.machine import machine_spec
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.workbench import (
    Workbench,
    disk_spec,
    workbench,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.build.toolbox import ensure_toolbox
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

SESSION = uuid.uuid4().hex[:8]
SECONDS = 25


@pytest.fixture
def bench() -> Iterator[Workbench]:
    """Return a bench on which a blank disk lies."""
    toolbox = ensure_toolbox(disk_spec(), engine=Engine(), home=Home.at(None))
    with workbench(toolbox, name="blank", session=SESSION, epoch=0) as made:
        made.run("truncate", "--size=16M", DISK)
        yield made


def test_a_timeout_keeps_the_console_and_the_screen_and_leaves_no_machine(
    bench: Workbench, tmp_path: Path
) -> None:
    box = ensure_toolbox(machine_spec(), engine=Engine(), home=Home.at(None), session=SESSION)
    spec = DiskSpec(("raw",), boot_test=SECONDS)

    with pytest.raises(DriverError, match=f"blank gets no version.*Waited {SECONDS} s") as caught:
        boot_disk(box, bench, spec, name="blank", folder=tmp_path)

    assert str(tmp_path / "console.log") in str(caught.value)
    assert "BdsDxe" in (tmp_path / "console.log").read_text("utf-8")
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")
    machines = ["docker", "ps", "--all", "--quiet", f"--filter=name=kiln-machine-blank-{SESSION}"]
    assert Engine().runner(machines).text == ""
