# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions on their way: promoted, compared, revoked and pruned, with the real engine and Git."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.oci.layout import Layout
from ansible_collections.kiln.immutable.plugins.module_utils.oci.predicates import SECRETS
from ansible_collections.kiln.immutable.plugins.module_utils.trust.attachments import (
    read_attached,
    read_envelopes,
    read_signatures,
)
from ansible_collections.kiln.immutable.plugins.module_utils.trust.keys import (
    encrypt_key,
    generate_key,
)


@pytest.fixture
def shared(team: Any, tmp_path: Path) -> Path:
    """Give the team a bare repository as its catalog's remote."""
    remote = tmp_path / "catalog.git"
    argv = ["git", "init", "--quiet", "--bare", "--initial-branch", "main", str(remote)]
    subprocess.run(argv, check=True)
    team.environment["KILN_CATALOG_REMOTE"] = str(remote)
    return remote


def commits(remote: Path) -> list[str]:
    argv = ["git", "-C", str(remote), "log", "--format=%s", "main"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_version_is_promoted_compared_revoked_and_pruned(
    team: Any, shared: Path, docker: Callable[..., str]
) -> None:
    name, role = team.name(), team.file_role()

    def play(playbook: str, *words: str, **more: Any) -> Any:
        given = [f"kiln_image={name}", "kiln_reason=test", *words]
        return team.play(
            f"playbooks/{playbook}.yml", *(w for one in given for w in ("-e", one)), **more
        )

    def image(tag: str) -> str:
        return docker("image", "inspect", "--format", "{{.Id}}", f"kiln/{name}:{tag}")

    for text in ("one", "two"):
        team.image(name, {"role": role, "vars": {"app_text": f"{name} {text}"}})
        team.bake()
    assert play("promote", "kiln_version=1.0.1").output.count("changed=1")
    assert image("dev") == image("1.0.1") == team.version(name, "1.0.1")["config"]
    assert "changed=0" in play("promote", "kiln_version=1.0.1", "kiln_channel=dev").output
    play("promote", "kiln_version=1.0.2", "kiln_channel=dev")
    assert image("dev") == image("1.0.2")

    compared = play("diff").output
    assert f"{name} 1.0.1 -> 1.0.2" in compared
    assert "~ /srv/app file 0644 0:0" in compared
    assert "packages: no difference" in compared
    standing = play("status").output
    assert f"{name}  dev      1.0.2" in standing
    assert "security updates are not known" not in standing

    withdrawn = play("revoke", "kiln_version=1.0.2", "kiln_move=back")
    assert image("dev") == image("1.0.1")
    refused = play("promote", "kiln_version=1.0.2", ends=2)
    assert "It is revoked (test)" in refused.output
    assert "changed=1" in withdrawn.output

    rules = ["kiln_keep_last=0", "kiln_keep_days=0", "kiln_keep_channel=1", "kiln_cache_days=0"]
    looked = team.play(
        *("playbooks/prune.yml", "--check", "-e", f"kiln_image={name}"),
        *(word for rule in rules for word in ("-e", rule)),
    )
    assert f"{name} 1.0.2  goes" in looked.output
    assert team.numbers(name) == ["1.0.1", "1.0.2"]
    play("prune", *rules)
    assert team.numbers(name) == ["1.0.1"]
    held = docker("image", "ls", "--format", "{{.Tag}}", f"kiln/{name}").split()
    assert sorted(held) == ["1.0.1", "dev"]
    assert "changed=0" in play("prune", *rules).output
    assert "problems: 0" in team.play("playbooks/fsck.yml").output
    assert commits(shared) == [
        f"Prune {name} 1.0.2",
        f"{name} 1.0.2 revoked, {name} dev moved to 1.0.1",
        f"{name} 1.0.2 to dev (was 1.0.1)",
        f"{name} 1.0.1 to dev",
        f"{name} 1.0.2: baked from debootstrap",
        f"{name} 1.0.1: baked from debootstrap",
    ]


@pytest.mark.usefixtures("plain_role_ran")
def test_what_is_asked_for_later_is_said_of_the_version_that_is_there(
    team: Any, tmp_path: Path
) -> None:
    name, role = team.name(), team.file_role()
    path = tmp_path / "team.key"
    path.write_bytes(encrypt_key(generate_key(), b"a word"))
    team.environment["COSIGN_PASSWORD"] = "a word"
    signs = ["-e", f"kiln_signing_key={path}"]
    layout = Layout(team.home / "store")

    def said() -> set[str]:
        index = team.version(name)["index"]
        kept = read_attached(layout, index, "statements")
        assert len(read_envelopes(layout, index)) in (0, len(kept))
        return {one.annotations["predicateType"] for one in kept}

    team.image(name, role, seal={"scan": False})
    team.bake()
    assert SECRETS not in said()
    team.image(name, role)
    looked = team.bake("--check", *signs).output
    assert f"{name}: its scan is missing" in looked
    assert f"{name}: it is not signed by the key that signs now" in looked
    made = team.bake(*signs)
    assert made.layers_run == []
    assert team.numbers(name) == ["1.0.1"]
    assert SECRETS in said()
    assert len(read_signatures(layout, team.version(name)["index"])) == 1
    assert team.bake(*signs).hosts == {"localhost"}
    assert team.bake().hosts == {"localhost"}
