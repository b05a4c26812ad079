# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes residue away: most of it in a module, what that module runs on afterwards in a shell."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase

MODULE = "kiln.immutable.root_residue"

# What removing packages and accounts writes; the module's walk came before it.
_AFTERMATH = (
    "rm -f /var/log/dpkg.log /var/log/alternatives.log /var/lib/dpkg/*-old "
    "/var/cache/debconf/*-old /var/cache/ldconfig/aux-cache "
    "/etc/passwd- /etc/shadow- /etc/group- /etc/gshadow- /etc/subuid- /etc/subgid-"
)


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core carries no type hints here
    """Runs the module, then one shell command that needs neither Python nor the build user."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the module's result; fail when Python would be taken from under Ansible."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if str(self._connection.transport).endswith("local"):
            if arguments.get("python", "remove") != "keep":
                message = (
                    "Python cannot be removed by the Ansible that runs on it: "
                    "set seal_python to keep, or bake from outside of the image."
                )
                return {**result, "failed": True, "msg": message}
            arguments["keep"] = [*arguments.get("keep", ()), *_own_files()]
        result.update(
            self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        )
        if result.get("failed") or self._task.check_mode:
            return result
        script = last_steps(
            result.get("packages", ()),
            str(result.get("build_user", "")),
            self._connection._shell.tmpdir or "",
        )
        if script:
            answer = self._low_level_execute_command(script)
            if answer["rc"] != 0:
                said = (answer.get("stderr") or answer.get("stdout") or "").strip()
                return {**result, "failed": True, "msg": f"The seal did not end: {said}"}
        return result


def _own_files() -> tuple[str, ...]:
    """Return patterns of what an Ansible that runs on the machine itself is using."""
    own = str(constants.DEFAULT_LOCAL_TMP).lstrip("/")
    return own, f"{own}/*", "tmp/packer-provisioner-ansible-local*"


def last_steps(packages: Sequence[str], build_user: str, temporary: str) -> str:
    """Return the shell command that ends the seal; empty when there is nothing to do.

    :param temporary: the directory that Ansible made for this task, or nothing.
    """
    steps = ["set -e"]
    if packages:
        names = " ".join(shlex.quote(name) for name in packages)
        # hardening_packages lets packages change only where this is, as it is while we bake.
        steps.append("[ -d /run/kiln ] || { mkdir /run/kiln; trap 'rmdir /run/kiln' EXIT; }")
        # The list is complete, so dpkg will do; apt would take locks in shared directories.
        steps.append(f"DEBIAN_FRONTEND=noninteractive dpkg --purge {names} >&2")
    if build_user:
        name = shlex.quote(build_user)
        steps.append(f"userdel --force --remove {name}; rm -f /etc/sudoers.d/{name}")
    if packages or build_user:
        steps.append(_AFTERMATH)
    if temporary and not temporary.startswith("/run/"):
        parent = posixpath.dirname(temporary)
        empty = [parent] + [posixpath.dirname(parent)] * parent.endswith("/.ansible/tmp")
        directories = " ".join(shlex.quote(directory) for directory in empty)
        # Another task's directory may be in there: then they stay, and are not ours to judge.
        steps.append(f"rm -rf {shlex.quote(temporary)}")
        steps.append(f"rmdir {directories} 2>/dev/null || true")
    return "; ".join(steps) if len(steps) > 1 else ""
