# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container of the new image that runs once, before or after a rotation."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ...core.errors import DriverError
from ..balancer.container import ROLE_LABEL
from ..definition_model import GroupDefinition, Hook
from ..model import HookResult, Release
from .client import GROUP_LABEL, LIMIT, Client, labels
from .instances import hardening_options, tmpfs_options, volume_name
from .values import Resolve, environment

TIMED_OUT = 124
"""The status of a hook that was ended because its time was over, as timeout(1) gives it."""
_OUTPUT_LINES = "200"


def run_hook(
    client: Client,
    definition: GroupDefinition,
    hook: Hook,
    release: Release,
    resolve: Resolve,
    network: str,
) -> HookResult:
    """Run *hook* to its end, at most its timeout, and remove it.

    One that an operator's process left running when it died is waited for, not started twice.
    """
    mark = hashlib.sha256(f"{release.digest} {release.reference}".encode()).hexdigest()[:8]
    name = f"kiln-{definition.name}-hook-{hook.name}-{mark}"
    if not client.inspect("container", [name]):
        _start(client, definition, hook, release, resolve, network, name)
    try:
        try:
            status = int(client("wait", name, timeout=hook.timeout).text)
        except DriverError:
            if client.inspect("container", [name])[0]["State"]["Running"]:
                message = f"its time, {hook.timeout:g} s, was over"
                return HookResult(TIMED_OUT, f"{_output(client, name)}\n{message}".strip())
            raise
        return HookResult(status, _output(client, name))
    finally:
        client.remove_container(name)


def _start(
    client: Client,
    definition: GroupDefinition,
    hook: Hook,
    release: Release,
    resolve: Resolve,
    network: str,
    name: str,
) -> None:
    image = client.inspect("image", [release.reference])
    if not image:
        raise DriverError(f"The engine has no image {release.reference} for the hook {hook.name}.")
    variables = {one.name: one for one in definition.environment}
    variables |= {one.name: one for one in hook.environment}
    given, needed = environment(tuple(variables.values()), resolve)
    options = labels({GROUP_LABEL: definition.name, ROLE_LABEL: "hook"})
    options += ["--network", network, "--no-healthcheck", *hardening_options(definition), *given]
    shared = tuple(volume for volume in definition.volumes if volume.access == "shared")
    own = replace(definition, volumes=shared)
    options += tmpfs_options(own, (image[0].get("Config") or {}).get("Labels") or {})
    for volume in shared:
        options += ["--volume", f"{volume_name(own, volume, None)}:{volume.path}"]
    program, *arguments = hook.command
    client(
        *("run", "--detach", "--pull", "never", "--name", name, *options),
        *("--entrypoint", program, release.reference, *arguments),
        env=needed,
        timeout=LIMIT,
    )


def _output(client: Client, name: str) -> str:
    done = client("logs", "--tail", _OUTPUT_LINES, name, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace").strip()
