# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who we are to a registry: Docker's config.json and its credential helpers."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.command import Runner, run
from ...core.errors import DriverError

DOCKER_HUB = "index.docker.io"
_NO_ENTRY = "credentials not found"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and password, or an identity token that is exchanged for others.

    What is secret is left out of the representation.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


def docker_credentials(
    host: str, environment: Mapping[str, str] | None = None, runner: Runner = run
) -> Credentials | None:
    """Return what ``docker login`` left for *host*, None when it left nothing.

    The credential helper of the host comes first, then the store for all hosts, then what is
    written into the file itself, as with the docker command. DriverError when the file or a
    helper fails.
    """
    environment = os.environ if environment is None else environment
    folder = environment.get("DOCKER_CONFIG")
    path = (Path(folder) if folder else Path("~/.docker").expanduser()) / "config.json"
    config = _read(path)
    keys = _keys(host)
    helpers = _section(config, "credHelpers", path)
    for key in keys:
        if key in helpers:
            return _ask_helper(str(helpers[key]), key, runner)
    store = config.get("credsStore")
    if isinstance(store, str) and store:
        for key in keys:
            if (found := _ask_helper(store, key, runner)) is not None:
                return found
    auths = _section(config, "auths", path)
    for key in keys:
        entry = auths.get(key)
        if isinstance(entry, dict) and (found := _from_entry(entry, key, path)) is not None:
            return found
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise DriverError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DriverError(f"{path} is not JSON: {error}.", hint="docker login mends it.") from error
    if not isinstance(value, dict):
        raise DriverError(f"{path} is not a JSON object.", hint="docker login mends it.")
    return value


def _section(config: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    found = config.get(name) or {}
    if not isinstance(found, dict):
        raise DriverError(f"{name} in {path} is not a JSON object.")
    return found


def _keys(host: str) -> list[str]:
    """Return the names under which Docker may have filed *host*."""
    if host in {"docker.io", DOCKER_HUB, "registry-1.docker.io"}:
        return [f"https://{DOCKER_HUB}/v1/", DOCKER_HUB, "docker.io"]
    return [
        host,
        f"https://{host}",
        f"https://{host}/",
        f"https://{host}/v1/",
        f"https://{host}/v2/",
    ]


def _from_entry(entry: Mapping[str, Any], key: str, path: Path) -> Credentials | None:
    token = entry.get("identitytoken")
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    encoded = entry.get("auth")
    if isinstance(encoded, str) and encoded:
        try:
            pair = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise DriverError(
                f"The entry of {key} in {path} is damaged.", hint=f"docker login {key} mends it."
            ) from error
        username, _colon, password = pair.partition(":")
    if isinstance(token, str) and token:
        return Credentials(username, identity_token=token)
    return Credentials(username, password.rstrip("\0")) if username else None


def _ask_helper(name: str, key: str, runner: Runner) -> Credentials | None:
    program = f"docker-credential-{name}"
    try:
        done = runner([program, "get"], stdin=key.encode(), check=False, timeout=60)
    except DriverError as error:
        raise DriverError(
            f"The credential helper {program}, which Docker's config.json names for {key},"
            f" cannot be run: {error.message}",
            hint="Install it, or take it out of config.json and log in again.",
        ) from error
    if done.status != 0:
        # It says so on standard output, which must not be repeated for any other reason.
        if _NO_ENTRY in done.text.lower():
            return None
        said = done.stderr.decode("utf-8", "replace").strip()
        raise DriverError(
            f"The credential helper {program} failed for {key} with exit status {done.status}"
            f"{': ' + said if said else '.'}"
        )
    try:
        answer = json.loads(done.stdout)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, LookupError, TypeError) as error:
        raise DriverError(f"The credential helper {program} gave no credentials.") from error
    if username == "<token>":
        return Credentials(identity_token=secret)
    return Credentials(username, secret)
