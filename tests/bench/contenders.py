# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ground that both sides are measured on, and our side: a bake of the copied collection."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

from .process_group import run_grouped

CHECKOUT = Path(__file__).resolve().parents[2]
CALLBACK = Path(__file__).resolve().parent / "callback"
TREE = ("ansible.cfg", "examples", "galaxy.yml", "meta", "playbooks", "plugins", "roles")
"""What a bake reads of the checkout."""

TEMPLATE = Path("roles/nginx/templates/nginx.conf.j2")
CHANGED_LINE = re.compile(r"^( *keepalive_timeout )(\d+)(s;)$", re.MULTILINE)
TIMEOUT = 1800.0
"""Seconds after which one build is taken to hang."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task that ran, as the callback plugin task_journal noted it."""

    host: str
    role: str
    action: str
    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Build:
    """One build: wall-clock seconds of its command, and the tasks that ran on the build host."""

    seconds: float
    tasks: tuple[Task, ...]

    @property
    def of_roles(self) -> int:
        """Number of tasks that belong to a role."""
        return sum(bool(task.role) for task in self.tasks)


@dataclass(frozen=True, slots=True)
class Ground:
    """The temporary folder of one run of the bench, and the name that all it makes carries.

    ``tree`` is a copy of the collection: the bench edits its template, never the checkout's.
    """

    folder: Path
    name: str
    definition: Mapping[str, Any]

    @classmethod
    def lay(cls, folder: Path, name: str, definition: Path) -> Ground:
        """Copy the collection and the definition's folder into *folder*."""
        ground = cls(folder, name, yaml.safe_load(definition.read_text("utf-8")))
        ground.tree.mkdir(parents=True)
        skip = shutil.ignore_patterns("__pycache__")
        for part in TREE:
            source = CHECKOUT / part
            if source.is_dir():
                shutil.copytree(source, ground.tree / part, ignore=skip)
            else:
                shutil.copy2(source, ground.tree / part)
        shutil.copytree(definition.parent, ground.images, ignore=skip)
        for other in [*ground.images.glob("*.yml"), *ground.images.glob("*.yaml")]:
            other.unlink()
        if not CHANGED_LINE.search(ground.template.read_text("utf-8")):
            raise DriverError(
                f"{TEMPLATE} has no line `keepalive_timeout NUMBERs;`, which the bench changes.",
                hint="Name another line in CHANGED_LINE of tests/bench/contenders.py.",
            )
        return ground

    @property
    def tree(self) -> Path:
        """The copy of the collection."""
        return self.folder / "ansible_collections" / "kiln" / "immutable"

    @property
    def images(self) -> Path:
        """The folder of the one image definition."""
        return self.folder / "images"

    @property
    def template(self) -> Path:
        """The template of the last role."""
        return self.tree / TEMPLATE

    def salted(self, salt: str, changed: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the definition with a first layer that no cache has met: no engine, no store.

        Its layer depends on a file that nobody looks at, which costs nothing to either side.

        :param changed: variables to change; each goes to the layer whose name begins it.
        """
        layers = [dict(layer) for layer in self.definition["layers"]]
        name = f"{salt}.salt"
        (self.images / name).write_text(f"{salt}\n", "utf-8")
        layers[0]["inputs"] = [*layers[0].get("inputs", []), name]
        for name, value in (changed or {}).items():
            owner = next(layer for layer in layers if name.startswith(_short_name(layer)))
            owner["vars"] = {**owner.get("vars", {}), name: value}
        return {**self.definition, "name": self.name, "layers": layers}

    def change_template(self) -> None:
        """Change one line of the last role's template to what it never was before."""
        text = self.template.read_text("utf-8")
        changed = CHANGED_LINE.sub(lambda m: f"{m[1]}{int(m[2]) + 1}{m[3]}", text, count=1)
        self.template.write_text(changed, "utf-8")

    def environment(self, journal: Path) -> dict[str, str]:
        """Return what both sides' ansible-playbook is given."""
        return {
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder),
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACK),
            "ANSIBLE_NOCOLOR": "1",
            "KILN_BENCH_JOURNAL": str(journal),
        }

    def timed(
        self, label: str, host: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path
    ) -> Build:
        """Run *argv* and return its time and the tasks that ran on *host*."""
        journal, log = self.folder / "journal", self.folder / "output"
        journal.unlink(missing_ok=True)
        started = time.monotonic()
        status = run_grouped(
            argv, env={**self.environment(journal), **env}, cwd=cwd, log=log, timeout=TIMEOUT
        )
        seconds = time.monotonic() - started
        if status != 0:
            output = log.read_text("utf-8", "replace").strip()
            said = "\n".join(output.splitlines()[-40:])
            raise DriverError(
                f"{label} failed with exit status {status}:\n{said}", details={"output": output}
            )
        lines = journal.read_text("utf-8").splitlines() if journal.exists() else []
        tasks = (Task(**json.loads(line)) for line in lines)
        return Build(seconds, tuple(task for task in tasks if task.host.startswith(host)))

    def empty_play(self) -> float:
        """Return the seconds of an ansible-playbook that has nothing to do: its own start."""
        (self.folder / "empty.yml").write_text(EMPTY_PLAY, "utf-8")
        return self.timed(
            "An empty play",
            "",
            [playbook_program(), str(self.folder / "empty.yml")],
            {"ANSIBLE_CONFIG": str(self.tree / "ansible.cfg")},
            self.tree,
        ).seconds


EMPTY_PLAY = """\
- name: Do nothing
  hosts: localhost
  gather_facts: false
  tasks: []
"""


def _short_name(layer: Mapping[str, Any]) -> str:
    return str(layer["role"]).rpartition(".")[2]


def playbook_program() -> str:
    """Return the ansible-playbook that stands beside the running Python."""
    return str(Path(sys.executable).parent / "ansible-playbook")


@dataclass(frozen=True, slots=True)
class Kiln:
    """Bakes with the copied collection in a home of its own."""

    ground: Ground

    @property
    def repository(self) -> str:
        """The engine's repository of the baked versions."""
        return f"kiln/{self.ground.name}"

    def define(self, salt: str, changed: Mapping[str, Any] | None = None) -> None:
        """Write the definition of a round, with the variables that *changed* since its begin."""
        text = yaml.safe_dump(self.ground.salted(salt, changed), sort_keys=False)
        (self.ground.images / "bench.yml").write_text(text, "utf-8")

    def bake(self) -> Build:
        """Run the bake playbook once."""
        return bake_folder(self.ground, self.ground.images)


def bake_folder(ground: Ground, images: Path) -> Build:
    """Bake the definitions in *images* in the ground's home; the tasks are those of all images."""
    return ground.timed(
        "The bake",
        ground.name,
        [playbook_program(), "playbooks/bake.yml", "-e", f"kiln_images={images}"],
        {
            "ANSIBLE_CONFIG": str(ground.tree / "ansible.cfg"),
            "KILN_HOME": str(ground.folder / "home"),
        },
        ground.tree,
    )
