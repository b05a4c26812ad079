# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, signatures and policies as playbooks use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.version import (
    Version,
    VersionNumber,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.image import (
    HistoryLayer,
    ImageConfig,
    write_image,
)
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layer import store_layer
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.predicates import SECRETS
from ansible_collections.kiln.immutable.plugins.module_utils.oci.statement import Statement
from ansible_collections.kiln.immutable.plugins.module_utils.trust.notary import keep_statements

CHECKOUT = Path(__file__).resolve().parents[3]
PASSPHRASE = "never to be shown"

Play = Callable[..., dict[str, Any]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose catalog has web 1.0.1, with a secret found in it and nobody's signature."""
    root = tmp_path / "home"
    layout = Layout(root / "store")
    layout.ensure()
    layer = store_layer(layout, [b"web"])
    image = write_image(layout, ImageConfig("amd64", 1), [HistoryLayer(layer, "kiln: base")])
    keep_statements(layout, image, "kiln/web", [Statement(SECRETS, {"found": 1})])

    def version(number: VersionNumber) -> Version:
        return Version(
            image="web",
            number=str(number),
            index=image.index.digest,
            config=image.config.digest,
            bake_key=image.index.digest,
            definition_digest=image.index.digest,
            definition_revision=None,
            created="2026-01-01T00:00:00Z",
            size=1,
            base="debootstrap",
        )

    Catalog(root / "catalog").record("web", "1.0", image.index.digest, version)
    return root


@pytest.fixture
def play(home: Path, tmp_path: Path) -> Play:
    """Give the function that runs one task and returns its result."""

    def run(module: str, *options: str, fails: bool = False, **arguments: Any) -> dict[str, Any]:
        variables = {
            "ansible_connection": "local",
            "kiln_signing_key": str(tmp_path / "team.key"),
            "kiln_signing_passphrase_file": str(tmp_path / "word"),
        }
        tasks = [{"name": "Do it", f"kiln.immutable.{module}": arguments}]
        playbook = tmp_path / "play.yml"
        playbook.write_text(
            yaml.safe_dump(
                [{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}]
            ),
            "utf-8",
        )
        (tmp_path / "word").write_text(PASSPHRASE + "\n", "ascii")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        program = Path(sys.executable).with_name("ansible-playbook")
        done = subprocess.run(
            [sys.executable, str(program), str(playbook), *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd=tmp_path,
            env={
                **inherited,
                "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
                "ANSIBLE_HOME": str(tmp_path / "ansible"),
                "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
                "ANSIBLE_NOCOLOR": "true",
                "KILN_HOME": str(home),
            },
        )
        output = done.stdout + done.stderr
        assert (done.returncode != 0) is fails, output
        assert PASSPHRASE not in output
        start = output.index("{", output.index("[localhost]"))
        found, _end = json.JSONDecoder().raw_decode(output[start:])
        return dict(found)

    return run


def test_a_key_is_made_once_and_opens_with_its_passphrase_only(play: Play, tmp_path: Path) -> None:
    path = tmp_path / "team.key"
    options = {"path": str(path), "passphrase_file": str(tmp_path / "word")}
    assert play("signing_key", "--check", "-vv", **options)["changed"] is True
    assert not path.exists()
    made = play("signing_key", "-vvv", **options)
    assert made["changed"] is True
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_bytes()
    again = play("signing_key", "-vv", **options)
    assert (again["changed"], again["fingerprint"]) == (False, made["fingerprint"])
    path.with_suffix(".pub").unlink()
    assert play("signing_key", "-vv", **options)["fingerprint"] == made["fingerprint"]
    assert path.read_bytes() == content


def test_a_version_is_signed_judged_and_told_every_rule_that_it_fails(
    play: Play, tmp_path: Path
) -> None:
    made = play(
        "signing_key",
        "-vv",
        path=str(tmp_path / "team.key"),
        passphrase_file=str(tmp_path / "word"),
    )
    policy = {
        "signers": {"keys": {"team": made["public"]}},
        "attestations": {"secrets": True, "tests": True},
        "maximum_age_days": 1,
        "base_channel": "prod",
    }
    refused = play("image_verify", fails=True, image="web", policy=policy)
    assert [one.partition(":")[0] for one in refused["failures"]] == [
        "signers",
        "attestations.secrets",
        "attestations.tests",
        "maximum_age",
        "base_channel",
    ]
    assert play("image_sign", "--check", "-vv", image="web")["signatures"] == 3
    assert play("image_sign", "-vv", image="web")["signatures"] == 3
    assert play("image_sign", "-vv", image="web")["changed"] is False
    judged = play("image_verify", "-vv", image="web", policy=policy, required=False)
    assert judged["signers"] == ["team"]
    assert judged["passed"] is False
    assert judged["failures"][0] == "attestations.secrets: found is 1, above 0."
    enough = {"signers": policy["signers"]}
    assert play("image_verify", "-vv", image="web", policy=enough)["passed"] is True


def test_a_promotion_is_refused_with_every_rule_of_the_channel(play: Play, home: Path) -> None:
    policy = {"attestations": {"secrets": True, "tests": True}}
    settings = {"channels": [{"name": "dev"}, {"name": "prod", "policy": policy}]}
    (home / "catalog" / "channels.yml").write_text(yaml.safe_dump(settings), "utf-8")
    for command in (
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", "-C", str(home / "catalog"), *command], check=True)
    asked = {"image": "web", "version": "1.0.1", "reason": "to see"}
    refused = play("image_promote", fails=True, channel="prod", **asked)
    assert len(refused["failures"]) == 2
    assert play("image_promote", "-vv", channel="dev", **asked)["moved"] is True
