# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With which settings an instance runs, and with which it should. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .findings import Finding, Kind

ENV = "env."
"""Begins the name of a setting that is a variable of the environment; its value is never told."""

ENGINE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH that engines give where nobody says one; some of them tell of it."""

GIVEN = "(given)"
"""Stands for the value of a variable that must be there and of which no more is known."""

SAFE: Mapping[str, Any] = {
    "privileged": False,
    "cap_add": [],
    "devices": [],
    "pid_mode": "",
    "network_is_host": False,
    "ipc_is_host": False,
    "uts_mode": "",
    "security_is_off": [],
    "sysctls": {},
}
"""What holds for every instance unless its group says something else."""


def observed_settings(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in what ``docker container inspect`` says of a container."""
    config = document.get("Config") or {}
    host = document.get("HostConfig") or {}
    networks = (document.get("NetworkSettings") or {}).get("Networks") or {}
    policy = host.get("RestartPolicy") or {}
    security = sorted(str(one) for one in host.get("SecurityOpt") or ())
    return {
        **from_config(config),
        "privileged": bool(host.get("Privileged")),
        "read_only": bool(host.get("ReadonlyRootfs")),
        "cap_add": _capabilities(host.get("CapAdd")),
        "cap_drop": _capabilities(host.get("CapDrop")),
        "security_opt": security,
        "security_is_off": [one for one in security if one.endswith(("unconfined", "disable"))],
        "devices": sorted(str(one.get("PathOnHost")) for one in host.get("Devices") or ()),
        "memory": int(host.get("Memory") or 0),
        "cpus": int(host.get("NanoCpus") or 0) / 1e9,
        "pids_limit": int(host.get("PidsLimit") or 0),
        "restart": str(policy.get("Name") or "no"),
        "init": bool(host.get("Init")),
        "tmpfs": sorted(host.get("Tmpfs") or ()),
        "volumes": sorted(_volumes(document)),
        "pid_mode": str(host.get("PidMode") or ""),
        "ipc_is_host": host.get("IpcMode") == "host",
        "uts_mode": str(host.get("UTSMode") or ""),
        "network_is_host": host.get("NetworkMode") == "host",
        "networks": sorted(networks),
        "sysctls": dict(host.get("Sysctls") or {}),
        "extra_hosts": sorted(host.get("ExtraHosts") or ()),
        "group_add": sorted(host.get("GroupAdd") or ()),
    }


def image_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that an image's configuration asks for, those that it names."""
    found = from_config(config)
    # The engine fills these in by itself when the image does not say.
    return {name: value for name, value in found.items() if value or name.startswith(ENV)}


def from_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that images have too, from a container's or an image's ``Config``."""
    check = config.get("Healthcheck") or {}
    return {
        "user": str(config.get("User") or ""),
        "entrypoint": list(config.get("Entrypoint") or ()),
        "command": list(config.get("Cmd") or ()),
        "working_dir": str(config.get("WorkingDir") or ""),
        "stop_signal": str(config.get("StopSignal") or ""),
        "healthcheck": list(check.get("Test") or ()),
        **{ENV + name: value for name, value in _variables(config)},
    }


def _variables(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for line in config.get("Env") or ():
        name, _equals, value = str(line).partition("=")
        yield name, value


def _volumes(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield ``SOURCE:PATH`` of what is mounted; the engine's own names are as good as none."""
    for one in document.get("Mounts") or ():
        if one.get("Type") in ("volume", "bind"):
            source = str(one.get("Name") or one.get("Source") or "")
            nameless = re.fullmatch("[0-9a-f]{64}", source) is not None
            yield f"{'' if nameless else source}:{one.get('Destination')}"


def _capabilities(names: Any) -> list[str]:
    return sorted(str(name).upper().removeprefix("CAP_") for name in names or ())


def compare_settings(
    expected: Mapping[str, Any], observed: Mapping[str, Any], *, whole_environment: bool = False
) -> Iterator[Finding]:
    """Yield the settings of *expected* that are other ones in *observed*.

    :param whole_environment: variables that are not expected are a difference too.
    """
    for name in sorted(expected):
        wanted, found = expected[name], observed.get(name)
        if wanted == found or (wanted is GIVEN and found is not None):
            continue
        if name.startswith(ENV):
            how = "removed" if name not in observed else "changed"
            yield Finding(Kind.SETTING, name, how)
        else:
            yield Finding(Kind.SETTING, name, "changed", f"{_told(wanted)} -> {_told(found)}")
    if whole_environment:
        for name in sorted(observed):
            if (name, observed[name]) == (f"{ENV}PATH", ENGINE_PATH):
                continue
            if name.startswith(ENV) and name not in expected:
                yield Finding(Kind.SETTING, name, "added")


def _told(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(str(one) for one in value) or "none"
    return str(value) if value not in ("", None, {}) else "none"
