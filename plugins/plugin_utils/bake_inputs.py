# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible knows and the bake key needs: where roles are, which variables a host will see."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.parsing.vault import EncryptedString
from ansible.plugins.loader import cache_loader
from ansible.utils.collection_loader import AnsibleCollectionRef
from ansible.utils.collection_loader._collection_finder import _get_collection_role_path
from ansible.utils.vars import load_extra_vars

from ..module_utils.build.chain import LayerStep
from ..module_utils.build.definition_model import Definition, LayerSpec
from ..module_utils.build.home import Home
from ..module_utils.build.key.inputs import layer_inputs
from ..module_utils.build.key.model import Secret, Variable
from ..module_utils.build.key.model import Unsafe as UnsafeText
from ..module_utils.core.errors import DriverError
from ..module_utils.core.yaml_source import Unsafe, Vaulted
from .play_settings import RENDERED_BY, implied_variables, managed, selection, settings, tags_of
from .plugin_digests import PluginDigests

NOT_INPUTS = frozenset(
    {
        # How the build container is reached, and which bake this is: no part of what it makes.
        "ansible_connection",
        "ansible_host",
        "ansible_python_interpreter",
        "ansible_remote_tmp",
        "ansible_user",
        "inventory_dir",
        "inventory_file",
        "kiln_at",
        "kiln_builder",
        "kiln_cache_days",
        "kiln_cache_from",
        "kiln_cache_to",
        "kiln_catalog_remote",
        "kiln_channel",
        "kiln_definition",
        "kiln_expected",
        "kiln_home",
        "kiln_images",
        "kiln_keep_failed",
        "kiln_move",
        "kiln_network",
        "kiln_parallel",
        "kiln_plan",
        "kiln_pool_limit",
        "kiln_reason",
        "kiln_refresh",
        "kiln_refresh_only",
        "kiln_registry",
        "kiln_registry_ca",
        "kiln_registry_plain_http",
        "kiln_session",
        "kiln_signing_command",
        "kiln_signing_key",
        "kiln_signing_passphrase_file",
        "kiln_signing_public_key",
        "kiln_version",
        "kiln_wait",
    }
)

_SECRET_NAME = re.compile(r"(?i)(passw|passphrase|secret|token|api_?key|private_?key|credential)")


class RoleFinder:
    """Finds roles where include_role will, so that the key is of what will run."""

    def __init__(self, playbook_folder: Path) -> None:
        self._folders = [playbook_folder / "roles", *map(Path, constants.DEFAULT_ROLES_PATH)]

    def __call__(self, name: str, relative_to: Path | None) -> Path:
        """Return the folder of role *name*, asked for by the role at *relative_to*."""
        if AnsibleCollectionRef.is_valid_fqcr(name):
            found = _get_collection_role_path(name)
            if found is not None:
                return Path(found[1])
        collections = _own_collection(relative_to)
        if collections is not None and (collections / name).is_dir():
            return collections / name
        candidates = [Path(name)] if os.path.isabs(name) else [f / name for f in self._folders]
        if relative_to is not None:
            candidates.append(relative_to.parent / name)
        for candidate in candidates:
            if candidate.is_dir():
                return candidate.resolve()
        looked = ", ".join(str(candidate) for candidate in candidates)
        raise DriverError(
            f"The role {name} is not there (looked at {looked}).",
            hint="Correct its name in the definition, install its collection, or set roles_path.",
        )


def _own_collection(role: Path | None) -> Path | None:
    """The roles folder of the collection that *role* is part of: its bare names mean that one."""
    if role is None or "ansible_collections" not in role.parts:
        return None
    return role.parent


def host_variables(
    task: Any, name: str, groups: list[str], own: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the variables that build host *name* will see in the bake's second play, untemplated.

    The host may not be in the inventory yet: it is added to this process's copy of it. Facts and
    results that an earlier bake of the same run left, or a fact cache, are not there in that copy:
    the bake clears them before its roles run.
    """
    manager = task.get_variable_manager()
    inventory = manager._inventory
    manager._nonpersistent_fact_cache.pop(name, None)
    manager._fact_cache = cache_loader.get("ansible.builtin.memory")
    for group in groups:
        inventory.add_group(group)
        inventory.add_host(name, group)
    host = inventory.get_host(name)
    values = manager.get_vars(host=host, include_hostvars=False)
    magic = manager._get_magic_variables(
        play=None, host=host, task=None, include_hostvars=False, _hosts=None, _hosts_all=None
    )
    return {
        **{key: value for key, value in values.items() if key not in magic},
        "inventory_hostname": name,
        **own,
    }


RoleRuns = list[dict[str, Any]]
"""For each layer its name, the role as include_role takes it, and the YAML texts of its vars."""


def host_facts(definition: Definition) -> dict[str, Any]:
    """Return what roles may know of the image they run for, the variable ``kiln_image``."""
    return {
        "name": definition.name,
        "kind": definition.kind,
        "user": definition.config.user,
        "ports": [port.number for port in definition.config.ports],
        "state": [
            {"path": s.path, "kind": s.kind, "owner": s.owner, "mode": s.mode}
            for s in definition.state
        ],
    }


def layer_specs(definition: Definition) -> tuple[LayerSpec, ...]:
    """Return the layers of *definition* and, last, the one that seals it."""
    seal = definition.seal
    values = {"seal_python": seal.python, **seal.vars_values}
    source = seal.vars_source if seal.vars_values else ""
    return (
        *definition.layers,
        LayerSpec(
            name="seal",
            role="kiln.immutable.seal",
            vars_source=f"seal_python: {seal.python}\n{source}",
            vars_values=values,
        ),
    )


class StepReader:
    """Reads what each layer of a definition depends on."""

    def __init__(self, task: Any, playbook_folder: Path, home: Home, loader: Any) -> None:
        self._task = task
        self._playbook_folder = playbook_folder
        self._find_role = RoleFinder(playbook_folder)
        self._plugins = PluginDigests()
        self._secret_key = home.secret_key()
        self._vault = loader._vault

    def steps(self, definition: Definition) -> tuple[list[LayerStep], RoleRuns]:
        """Return the layers of *definition*, the sealing one last, and how to run each."""
        own = {
            "kiln_image": host_facts(definition),
            "kiln_definition_dir": str(definition.directory),
        }
        seen = host_variables(self._task, definition.name, ["kiln_build"], own)
        seen = {**managed(), **seen}
        extra = load_extra_vars(self._task.get_loader())
        steps: list[LayerStep] = []
        runs: RoleRuns = []
        facts: set[str] = set()
        for spec in layer_specs(definition):
            path = spec.role_path or self._find_role(spec.role, None)
            values = {**seen, **definition.vars_values, **spec.vars_values, **extra}
            inputs = layer_inputs(
                str(path) if spec.role_path else spec.role,
                definition_dir=definition.directory,
                resolve=self._find_role,
                variables={
                    name: Variable(self._raw(value), secret=bool(_SECRET_NAME.search(name)))
                    for name, value in values.items()
                    if name not in NOT_INPUTS
                },
                declared=spec.inputs,
                environment=os.environ,
                plugin_digest=self._plugins,
                secret_key=self._secret_key,
                search={"playbook": self._playbook_folder},
                earlier=facts,
                reveal=self._reveal,
                implied=implied_variables(values),
                by_member=("kiln_image",),
                asked=selection(),
            )
            facts |= set(inputs.facts)
            manifest = {
                **inputs.manifest,
                "variables": _without_place(inputs.manifest.get("variables")),
                "ansible": RENDERED_BY,
                "tags": tags_of(inputs.mentioned),
                **settings(),
            }
            reasons = () if inputs.cacheable else tuple(str(line) for line in inputs.uncacheable)
            steps.append(
                LayerStep(spec.name, spec.role, manifest, reasons, tuple(sorted(inputs.facts)))
            )
            in_collection = AnsibleCollectionRef.is_valid_fqcr(spec.role)
            runs.append(
                {
                    "layer": spec.name,
                    "role": spec.role if in_collection else str(path),
                    "vars_sources": [definition.vars_source, spec.vars_source],
                }
            )
        return steps, runs

    def _raw(self, value: Any) -> object:
        """Return *value* with its secrets marked, so that no clear text of them is kept."""
        if isinstance(value, Vaulted):
            return Secret(self._reveal(value.ciphertext))
        if isinstance(value, Unsafe):
            return UnsafeText(str(value.value))
        if isinstance(value, EncryptedString):
            return Secret(str(value))
        if isinstance(value, Mapping):
            return {str(key): self._raw(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._raw(inner) for inner in value]
        return value

    def _reveal(self, ciphertext: str) -> str:
        try:
            return str(self._vault.decrypt(ciphertext).decode("utf-8", "surrogateescape"))
        except AnsibleError as error:
            raise DriverError(
                f"A vault value cannot be decrypted: {error}",
                hint="Give its password: --vault-password-file or --ask-vault-pass.",
            ) from error


def _without_place(variables: object) -> dict[str, object]:
    """Take out where the checkout lies: the files that are named by it are inputs themselves."""
    given = variables if isinstance(variables, Mapping) else {}
    return {name: value for name, value in given.items() if name != "kiln_definition_dir"}
