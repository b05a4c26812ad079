# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other side: Packer's docker builder and ansible provisioner with the same roles."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import run
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError

from .contenders import CHECKOUT, TIMEOUT, Build, Ground, playbook_program
from .process_group import run_grouped

LIST_MINUTES = 60
"""How old package lists may be: as the module packages_installed has it."""


@dataclass(frozen=True, slots=True)
class Variant:
    """How Packer's Ansible is set up.

    :param title: the column's name.
    :param tuned: Ansible's docker connection with pipelining and no facts, instead of the
        provisioner's SSH proxy and what Ansible does unless told otherwise.
    :param strategy: Ansible's strategy plugin; empty for its default.
    """

    title: str
    tuned: bool
    strategy: str = ""


PLAIN = Variant("packer", tuned=False)
TUNED = Variant("packer, tuned", tuned=True)


@dataclass(frozen=True, slots=True)
class Packer:
    """Builds in one of the two variants, on one base, with the same package caches."""

    ground: Ground
    variant: Variant

    @property
    def base(self) -> str:
        """The image that the builds start from."""
        return f"{self.ground.name}-base:1"

    @property
    def repository(self) -> str:
        """The engine's repository of the built images."""
        return f"{self.ground.name}-{'tuned' if self.variant.tuned else 'packer'}"

    @property
    def volumes(self) -> dict[str, str]:
        """The caches that stay between builds, by name, with where they are mounted."""
        return {
            f"{self.ground.name}-archives": "/var/cache/apt/archives",
            f"{self.ground.name}-lists": "/var/lib/apt/lists",
        }

    def bootstrap(self) -> None:
        """Import the base as mmdebstrap makes it: the same archive, suite and variant as ours."""
        base = self.ground.definition["base"].get("debootstrap")
        if base is None or set(base) - {"suite", "variant", "mirror", "components"}:
            raise DriverError(
                "The bench takes a base.debootstrap with suite, variant, mirror and components only"
            )
        tar, log = self.ground.folder / "base.tar", self.ground.folder / "output"
        argv = ["mmdebstrap", f"--variant={base.get('variant', 'minbase')}"]
        if "components" in base:
            argv.append(f"--components={','.join(base['components'])}")
        argv += [base["suite"], str(tar), *([base["mirror"]] if "mirror" in base else [])]
        if run_grouped(argv, env={}, cwd=self.ground.folder, log=log, timeout=TIMEOUT) != 0:
            said = log.read_text("utf-8", "replace").strip().splitlines()[-10:]
            raise DriverError("mmdebstrap failed:\n" + "\n".join(said))
        run(["docker", "import", str(tar), self.base])
        tar.unlink()

    def define(self, salt: str) -> None:
        """Write the playbook and the template of a round."""
        definition = self.ground.salted(salt)
        roles = [
            {"role": layer["role"], "vars": layer.get("vars", {})} for layer in definition["layers"]
        ]
        sealing = {f"seal_{key}": value for key, value in definition.get("seal", {}).items()}
        roles.append({"role": "kiln.immutable.seal", "vars": sealing})
        play: dict[str, Any] = {
            "name": "Build with the same roles",
            "hosts": "all",
            "vars": {"kiln_definition_dir": str(self.ground.images)},
            "roles": roles,
        }
        if self.variant.tuned:
            play["gather_facts"] = False
        if self.variant.strategy:
            play["strategy"] = self.variant.strategy
        folder = self.ground.folder / self.repository
        folder.mkdir(exist_ok=True)
        # Ansible reads it instead of one that the user or the machine has.
        (folder / "ansible.cfg").write_text("", "utf-8")
        (folder / "playbook.yml").write_text(yaml.safe_dump([play], sort_keys=False), "utf-8")
        template = json.dumps(self._template(definition, salt), indent=2)
        (folder / "packer.json").write_text(template, "utf-8")

    def build(self) -> Build:
        """Run Packer once, with nothing of an earlier build but the package caches."""
        folder = self.ground.folder / self.repository
        # The docker connection is of community.docker, which the checkout's environment brings.
        collections = f"{self.ground.folder}:{CHECKOUT / '.collections'}"
        return self.ground.timed(
            f"Packer ({self.variant.title})",
            "default",
            ["packer", "build", "-color=false", "packer.json"],
            {
                "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": collections,
                "CHECKPOINT_DISABLE": "1",
                "PACKER_CACHE_DIR": str(self.ground.folder / "packer-cache"),
                "TMPDIR": str(folder),
            },
            folder,
        )

    def _template(self, definition: Mapping[str, Any], tag: str) -> dict[str, Any]:
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
                        *("-d", "-i", "-t", "--name", self.repository, "--env", "LC_ALL=C.UTF-8"),
                        *("--entrypoint=/bin/sh", "--", "{{.Image}}"),
                    ],
                }
            ],
            "provisioners": [{"type": "shell", "inline": _BOOTSTRAP}, self._ansible()],
            "post-processors": [
                {"type": "docker-tag", "repository": self.repository, "tag": [tag]}
            ],
        }

    def _ansible(self) -> dict[str, Any]:
        if self.variant.tuned:
            host = f"ansible_connection=docker ansible_host={self.repository}"
            arguments = [
                *("--extra-vars", "ansible_python_interpreter=/usr/bin/python3"),
                *("--extra-vars", host),
            ]
            variables = ["ANSIBLE_PIPELINING=True", *_strategy_variables(self.variant.strategy)]
        else:
            # Packer 1.6's key is signed with SHA-1, and OpenSSH's scp speaks SFTP by default.
            arguments = [
                "--ssh-extra-args=-o HostKeyAlgorithms=+ssh-rsa -o PubkeyAcceptedKeyTypes=+ssh-rsa",
                "--scp-extra-args=-O",
            ]
            # Packer asks for scp by a name that Ansible has given up since. Without it, each copy
            # would first try an SFTP server that the container does not have.
            variables = ["ANSIBLE_SSH_TRANSFER_METHOD=scp"]
        return {
            "type": "ansible",
            "user": "root",
            "command": playbook_program(),
            "playbook_file": str(self.ground.folder / self.repository / "playbook.yml"),
            "extra_arguments": arguments,
            "ansible_env_vars": ["ANSIBLE_HOST_KEY_CHECKING=False", *variables],
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
