# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docker login left, and who is asked for it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.oci.registry.credentials import (
    Credentials,
    docker_credentials,
)

HOST = "registry.example.org"


class Helpers:
    """Answers as docker-credential-NAME would."""

    def __init__(self, **answers: Completed) -> None:
        self.answers = answers
        self.asked: list[tuple[str, bytes | None]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> Completed:
        assert argv[1:] == ["get"]
        name = argv[0].removeprefix("docker-credential-")
        self.asked.append((name, stdin))
        if name not in self.answers:
            raise DriverError(f"The program {argv[0]} is not installed.")
        return self.answers[name]


def found(folder: Path, config: Any, helpers: Helpers | None = None, host: str = HOST) -> Any:
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return docker_credentials(host, {"DOCKER_CONFIG": str(folder)}, helpers or Helpers())


def encoded(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def gave(user: str, secret: str) -> Completed:
    return Completed(0, json.dumps({"Username": user, "Secret": secret}).encode(), b"")


NOT_FOUND = Completed(1, b"credentials not found in native keychain", b"")


@pytest.mark.parametrize("key", [HOST, f"https://{HOST}", f"https://{HOST}/v1/"])
def test_credentials_are_read_from_the_file(tmp_path: Path, key: str) -> None:
    config = {"auths": {key: {"auth": encoded("ann", "se:cret")}}}
    assert found(tmp_path, config) == Credentials("ann", "se:cret")


def test_another_hosts_credentials_are_not_taken(tmp_path: Path) -> None:
    config = {"auths": {"example.org": {"auth": encoded("ann", "x")}}}
    assert found(tmp_path, config) is None


def test_a_port_is_a_part_of_the_host(tmp_path: Path) -> None:
    config = {"auths": {f"{HOST}:8443": {"auth": encoded("ann", "x")}}}
    assert found(tmp_path, config) is None
    assert found(tmp_path, config, host=f"{HOST}:8443") == Credentials("ann", "x")


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert docker_credentials(HOST, {"DOCKER_CONFIG": str(tmp_path)}, Helpers()) is None


def test_an_identity_token_is_taken_instead_of_a_password(tmp_path: Path) -> None:
    config = {"auths": {HOST: {"auth": encoded("ann", ""), "identitytoken": "long"}}}
    assert found(tmp_path, config) == Credentials("ann", identity_token="long")


def test_the_hosts_helper_comes_before_all(tmp_path: Path) -> None:
    helpers = Helpers(own=gave("helper", "x"), store=gave("store", "y"))
    config = {
        "credHelpers": {HOST: "own"},
        "credsStore": "store",
        "auths": {HOST: {"auth": encoded("file", "z")}},
    }
    assert found(tmp_path, config, helpers) == Credentials("helper", "x")
    assert helpers.asked == [("own", HOST.encode())]


def test_the_store_comes_before_the_file(tmp_path: Path) -> None:
    helpers = Helpers(store=gave("store", "y"))
    config = {"credsStore": "store", "auths": {HOST: {}}}
    assert found(tmp_path, config, helpers) == Credentials("store", "y")


def test_what_the_store_has_not_is_looked_for_in_the_file(tmp_path: Path) -> None:
    config = {"credsStore": "store", "auths": {HOST: {"auth": encoded("file", "z")}}}
    assert found(tmp_path, config, Helpers(store=NOT_FOUND)) == Credentials("file", "z")


def test_a_helper_may_give_an_identity_token(tmp_path: Path) -> None:
    helpers = Helpers(own=gave("<token>", "long"))
    assert found(tmp_path, {"credHelpers": {HOST: "own"}}, helpers) == Credentials(
        identity_token="long"
    )


def test_a_helper_that_fails_is_named_without_what_it_printed(tmp_path: Path) -> None:
    helpers = Helpers(own=Completed(3, b"SECRET", b"the vault is closed"))
    with pytest.raises(DriverError) as caught:
        found(tmp_path, {"credHelpers": {HOST: "own"}}, helpers)
    assert "docker-credential-own failed" in str(caught.value)
    assert "the vault is closed" in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_helper_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="docker-credential-own, which Docker's"):
        found(tmp_path, {"credHelpers": {HOST: "own"}})


@pytest.mark.parametrize(
    "config", ["{", "[]", {"auths": 3}, {"auths": {HOST: {"auth": "!"}}}], ids=str
)
def test_a_damaged_file_is_named(tmp_path: Path, config: Any) -> None:
    with pytest.raises(DriverError, match=r"config\.json"):
        found(tmp_path, config)


def test_dockers_own_registry_is_filed_under_its_old_address(tmp_path: Path) -> None:
    key = "https://" + "index.docker.io/v1/"
    config = {"auths": {key: {"auth": encoded("ann", "x")}}}
    assert found(tmp_path, config, host="docker.io") == Credentials("ann", "x")


def test_secrets_are_not_shown() -> None:
    shown = repr(Credentials("ann", "secret", "token"))
    assert "secret" not in shown
    assert "token" not in shown
