# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compared: the same roles on the same base, baked by us and built by Packer."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import (
    Completed,
    last_lines,
    run,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

CHECKOUT = Path(__file__).resolve().parents[2]
CALLBACK = Path(__file__).resolve().parent / "callback"
TREE = ("ansible.cfg", "examples", "galaxy.yml", "meta", "playbooks", "plugins", "roles")
"""What a bake reads of the checkout."""

TEMPLATE = Path("roles/nginx/templates/nginx.conf.j2")
CHANGED_LINE = re.compile(r"^( *keepalive_timeout )(\d+)(s;)$", re.MULTILINE)
TIMEOUT = 1800.0
"""Seconds after which one build is taken to hang."""

LIST_MINUTES = 60
"""How old package lists may be: what the roles' cache_valid_time says."""


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

    def salted(self, salt: str) -> dict[str, Any]:
        """Return the definition with a first layer that no cache has met: no engine, no store.

        The locale's modifier is one word in one file and costs nothing to either side.
        """
        layers = [dict(layer) for layer in self.definition["layers"]]
        layers[0]["vars"] = {**layers[0].get("vars", {}), "base_locale": f"C.UTF-8@{salt}"}
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
        journal = self.folder / "journal"
        journal.unlink(missing_ok=True)
        started = time.monotonic()
        done = run(
            argv, env={**self.environment(journal), **env}, cwd=cwd, check=False, timeout=TIMEOUT
        )
        seconds = time.monotonic() - started
        if done.status != 0:
            raise DriverError(
                f"{label} failed with exit status {done.status}:\n{_said(done)}",
                details={"output": done.text},
            )
        lines = journal.read_text("utf-8").splitlines() if journal.exists() else []
        tasks = (Task(**json.loads(line)) for line in lines)
        return Build(seconds, tuple(task for task in tasks if task.host == host))


def _said(done: Completed) -> str:
    return last_lines(Completed(done.status, done.stdout, b""), 40)


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

    def define(self, salt: str) -> None:
        """Write the definition of a round."""
        text = yaml.safe_dump(self.ground.salted(salt), sort_keys=False)
        (self.ground.images / "bench.yml").write_text(text, "utf-8")

    def bake(self) -> Build:
        """Run the bake playbook once."""
        return self.ground.timed(
            "The bake",
            self.ground.name,
            [playbook_program(), "playbooks/bake.yml", "-e", f"kiln_images={self.ground.images}"],
            {
                "ANSIBLE_CONFIG": str(self.ground.tree / "ansible.cfg"),
                "KILN_HOME": str(self.ground.folder / "home"),
            },
            self.ground.tree,
        )


@dataclass(frozen=True, slots=True)
class Packer:
    """Builds with Packer's docker builder and ansible provisioner.

    :param base: the image that holds the base root filesystem.
    :param connection: ``docker`` (Ansible speaks to the container itself, as Packer's
        documentation shows for this builder) or ``ssh`` (through Packer's own proxy).
    :param strategy: Ansible's strategy plugin; empty for its default.
    """

    ground: Ground
    base: str
    connection: str
    strategy: str = ""

    @property
    def repository(self) -> str:
        """The engine's repository of the built images."""
        return f"{self.ground.name}-packer"

    @property
    def volumes(self) -> dict[str, str]:
        """The caches that stay between builds, by name, with where they are mounted."""
        return {
            f"{self.ground.name}-archives": "/var/cache/apt/archives",
            f"{self.ground.name}-lists": "/var/lib/apt/lists",
        }

    def define(self, salt: str) -> None:
        """Write the playbook and the template of a round."""
        definition = self.ground.salted(salt)
        roles = [
            {"role": layer["role"], "vars": layer.get("vars", {})} for layer in definition["layers"]
        ]
        sealing = {f"seal_{key}": value for key, value in definition.get("seal", {}).items()}
        roles.append({"role": "kiln.immutable.seal", "vars": sealing})
        play = {
            "name": "Build with the same roles",
            "hosts": "all",
            "gather_facts": False,
            "vars": {"kiln_definition_dir": str(self.ground.images)},
            "roles": roles,
        }
        if self.strategy:
            play["strategy"] = self.strategy
        (self.ground.folder / "packer.yml").write_text(
            yaml.safe_dump([play], sort_keys=False), "utf-8"
        )
        (self.ground.folder / "packer.json").write_text(
            json.dumps(self._template(definition, salt), indent=2), "utf-8"
        )

    def build(self) -> Build:
        """Run Packer once, with nothing of an earlier build but the package caches."""
        return self.ground.timed(
            "Packer",
            "default",
            ["packer", "build", "-color=false", "packer.json"],
            {
                "CHECKPOINT_DISABLE": "1",
                "PACKER_CACHE_DIR": str(self.ground.folder / "packer-cache"),
            },
            self.ground.folder,
        )

    def _template(self, definition: Mapping[str, Any], tag: str) -> dict[str, Any]:
        container = f"{self.ground.name}-packer"
        return {
            "builders": [
                {
                    "type": "docker",
                    "image": self.base,
                    "pull": False,
                    "commit": True,
                    "changes": _changes(definition["config"]),
                    "volumes": self.volumes,
                    "run_command": [
                        *("-d", "-i", "-t", "--name", container, "--env", "LC_ALL=C.UTF-8"),
                        *("--entrypoint=/bin/sh", "--", "{{.Image}}"),
                    ],
                }
            ],
            "provisioners": [
                {"type": "shell", "inline": _BOOTSTRAP},
                self._ansible(container),
            ],
            "post-processors": [
                {"type": "docker-tag", "repository": self.repository, "tag": [tag]}
            ],
        }

    def _ansible(self, container: str) -> dict[str, Any]:
        arguments = ["--extra-vars", "ansible_python_interpreter=/usr/bin/python3"]
        if self.connection == "docker":
            arguments += ["--extra-vars", f"ansible_connection=docker ansible_host={container}"]
        else:
            # Packer 1.6 signs with SHA-1 and has no SFTP server.
            arguments += [
                "--ssh-extra-args=-o HostKeyAlgorithms=+ssh-rsa -o PubkeyAcceptedKeyTypes=+ssh-rsa",
                "--scp-extra-args=-O",
            ]
        return {
            "type": "ansible",
            "user": "root",
            "command": playbook_program(),
            "playbook_file": str(self.ground.folder / "packer.yml"),
            "extra_arguments": arguments,
            "ansible_env_vars": [
                "ANSIBLE_PIPELINING=True",
                "ANSIBLE_HOST_KEY_CHECKING=False",
                "ANSIBLE_SCP_IF_SSH=True",
                "ANSIBLE_DEPRECATION_WARNINGS=False",
                *_strategy_variables(self.strategy),
            ],
        }


# As Debian's own container images do: no services are started, and dpkg does not wait for the
# disk. Lists that the caches hold are used for as long as the roles use them.
_BOOTSTRAP = [
    "set -eu; export DEBIAN_FRONTEND=noninteractive",
    "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d",
    "echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/60speed",
    (
        f'[ -n "$(find /var/lib/apt/lists -maxdepth 0 -mmin -{LIST_MINUTES} ! -empty)" ] &&'
        " ls /var/lib/apt/lists/*_Packages* > /dev/null 2>&1 ||"
        " { apt-get update -qq; touch /var/lib/apt/lists; }"
    ),
    "apt-get install -qq --yes --no-install-recommends python3 python3-apt > /dev/null",
]


def _strategy_variables(strategy: str) -> list[str]:
    if not strategy.startswith("mitogen"):
        return []
    import ansible_mitogen  # noqa: PLC0415  # only this variant needs it

    place = os.path.join(os.path.dirname(ansible_mitogen.__file__), "plugins", "strategy")
    return [f"ANSIBLE_STRATEGY_PLUGINS={place}"]


def _changes(config: Mapping[str, Any]) -> list[str]:
    """Return the configuration as `docker commit --change` takes it (it knows no STOPSIGNAL)."""
    changes = [f"USER {config['user']}", f"ENTRYPOINT {json.dumps(config['entrypoint'])}"]
    changes += [f"EXPOSE {port}" for port in config.get("ports", [])]
    if check := config.get("healthcheck"):
        options = " ".join(
            f"--{key.replace('_', '-')}={check[key]}"
            for key in ("interval", "timeout", "start_period", "retries")
            if key in check
        )
        kind, *command = check["test"]
        changes.append(f"HEALTHCHECK {options} {kind} {json.dumps(command)}")
    return changes
