# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses hosts that are not being baked; the decision is in module_utils/build/guard.py."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import yaml
from ansible import context
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

from ..module_utils.build import guard

_ONCE = (
    "run_once would let the proof of one host count for all hosts of the play: take it away from"
    " what includes the role."
)


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no type hints here
    """Gathers the evidence, at most one command on the target, and asks ``guard.decide``.

    Runs in check mode too: it changes nothing, and a plan for a server is refused like a change.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = True
    _VALID_ARGS: frozenset[str] = frozenset()

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return ``host`` and ``way`` for a host that is being baked; fail for any other."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        if self._task.run_once:
            # What it registers would be given to every host of the play.
            return {**result, "failed": True, "changed": False, "msg": _ONCE}
        evidence = self._evidence(variables)
        verdict = guard.claim(evidence)
        if isinstance(verdict, guard.Way):
            evidence = self._with_target(evidence)
            decision = guard.decide(evidence)
        else:
            decision = verdict
        if isinstance(decision, guard.Refused):
            return {**result, "failed": True, "changed": False, "msg": decision.message}
        return {**result, "changed": False, "host": evidence.host, "way": str(decision.way)}

    def _evidence(self, variables: Mapping[str, Any]) -> guard.Evidence:
        extra: Mapping[str, Any] = load_extra_vars(self._loader)
        # A session given on the command line holds for every host, servers included.
        session = "" if "kiln_session" in extra else str(variables.get("kiln_session") or "")
        molecule_file = os.environ.get("MOLECULE_FILE", "")
        return guard.Evidence(
            host=str(variables.get("inventory_hostname", "")),
            transport=str(self._connection.transport).rpartition(".")[2].removeprefix("mitogen_"),
            session=session,
            packer_variables="packer_build_name" in extra and "packer_builder_type" in extra,
            packer_run=bool(os.environ.get("PACKER_RUN_UUID")),
            play_sources=(
                self._loader.get_basedir(),
                *map(str, context.CLIARGS.get("inventory") or ()),
            ),
            molecule=bool(molecule_file) and "molecule_yml" in variables,
            molecule_platforms=_platforms(molecule_file),
            controller=_controller(),
        )

    def _with_target(self, evidence: guard.Evidence) -> guard.Evidence:
        answer = self._low_level_execute_command(guard.PROBE, sudoable=False)
        target = guard.read_probe(str(answer.get("stdout", "")).splitlines())
        return dataclasses.replace(evidence, target=target)


def _platforms(molecule_file: str) -> tuple[str, ...]:
    """Return the names of the platforms in *molecule_file*; none when it cannot be read."""
    try:
        with open(molecule_file, "rb") as stream:
            content = yaml.safe_load(stream)
    except (OSError, yaml.YAMLError):
        return ()
    platforms = content.get("platforms") if isinstance(content, dict) else None
    return tuple(
        str(platform["name"])
        for platform in platforms or ()
        if isinstance(platform, dict) and "name" in platform
    )


def _controller() -> guard.Root:
    """Return the controller's own root; without /proc (macOS) no target can be of its boot."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            boot = stream.read().strip()
    except OSError:
        boot = ""
    root = os.stat("/")
    return guard.Root(boot=boot, root=f"{root.st_dev}:{root.st_ino}")
