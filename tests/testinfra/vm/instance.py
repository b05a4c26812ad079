# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine of the scenario ``vm``: booted from the disk of a baked version, reached over SSH.

    python -m ansible_collections.kiln.immutable.tests.testinfra.vm.instance FOLDER DEFINITION

boots it from the disk of the definition's last version and ends when it is up.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.kiln.immutable.plugins.module_utils.build.definition import load
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.artefact import disks_of
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.boot_test import (
    SSH_PORT,
    make_seed,
    ssh_config,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.machine import (
    Drive,
    Machine,
    MachineSpec,
    last_words,
    machine_spec,
    start_machine,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.workbench import (
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
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout

NAME = "kiln-molecule-vm"
AS_QEMU_CALLS_IT = {"vhd": "vpc"}
USER = "admin"
PATIENCE = 900.0  # seconds until it is up, where the host has a lot else to do
STATE_BYTES = 64 << 20
_INSIDE = "/machine"


@dataclass(frozen=True, slots=True)
class Instance:
    """The machine; *folder* has what lasts of it: the disk of its state, its key and its seed."""

    folder: Path

    @property
    def machine(self) -> Machine:
        """The machine that was booted last."""
        return Machine(Engine(), NAME, time)

    @property
    def ssh_config(self) -> Path:
        """The settings by which ssh(1) reaches the machine."""
        return self.folder / "ssh_config"

    def disk(self, definition: Path) -> Path:
        """The machine's own copy of a disk: what a check does to it, it does to nobody else's."""
        return self.folder / f"{definition.stem}.disk"

    def boot(self, definition: Path, *, state_bytes: int = STATE_BYTES) -> Machine:
        """Boot the disk of *definition*'s last version; RuntimeError when a unit in it fails.

        :param state_bytes: of the disk of its state, which may be smaller by then but not larger.
        """
        home, engine = Home.at(None), Engine()
        self.folder.mkdir(parents=True, exist_ok=True)
        loaded = load(definition)
        spec = loaded.disk
        assert spec is not None
        form = spec.formats[0]
        copy_disk(home, loaded.name, form, self.disk(definition))
        with (self.folder / "state.raw").open("ab") as state:
            state.truncate(state_bytes)
        key = self.folder / "key"
        if not key.exists():
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "molecule"]
            subprocess.run([*make, "-f", str(key)], check=True)
            self._make_seed(
                home, engine, loaded.name, key.with_suffix(".pub").read_text("utf-8").strip()
            )
        drives = (
            Drive(
                f"{_INSIDE}/{self.disk(definition).name}", format=AS_QEMU_CALLS_IT.get(form, form)
            ),
            Drive(f"{_INSIDE}/state.raw", serial="state", lasts=True),
            Drive(f"{_INSIDE}/seed.img"),
        )
        it = start_machine(
            ensure_toolbox(machine_spec(), engine=engine, home=home),
            MachineSpec(drives, firmware=spec.boot, ports={22: SSH_PORT}),
            NAME,
            options=["--volume", f"{self.folder}:{_INSIDE}"],
            labels={},
        )
        self.ssh_config.write_text(ssh_config(it, USER, key), "utf-8")
        failed = it.wait_until_ready(PATIENCE)
        if failed:
            raise RuntimeError(f"{failed} failed: {last_words(it.console, 30)}")
        return it

    def _make_seed(self, home: Home, engine: Engine, name: str, public_key: str) -> None:
        toolbox = ensure_toolbox(disk_spec(), engine=engine, home=home)
        with workbench(toolbox, name="seed", session="molecule", epoch=0) as bench:
            make_seed(bench, name, public_key)
            (self.folder / "seed.img").write_bytes(b"".join(bench.read("seed.img")))


def copy_disk(home: Home, name: str, form: str, target: Path) -> None:
    """Copy the disk of the last version of the image *name* out of the store."""
    layout = Layout(home.store)
    record = Cache(home.cache, layout).latest(name)
    assert record is not None
    size = layout.path(record.index).stat().st_size
    disks = {one.format: one for one in disks_of(layout, Descriptor(INDEX, record.index, size))}
    shutil.copyfile(layout.path(disks[form].blob.digest), target)


def main(arguments: Sequence[str]) -> int:
    """Boot the machine; return the exit status."""
    folder, definition = [Path(word).absolute() for word in arguments]
    Instance(folder).boot(definition)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
