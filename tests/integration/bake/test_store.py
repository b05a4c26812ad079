# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store around bakes: damage that is met, garbage, and a cache that machines share."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

FSCK, GC = "playbooks/fsck.yml", "playbooks/gc.yml"


def layer_blob(team: Any, name: str, layer: str, store: Path | None = None) -> Path:
    """Return the blob of a layer of the last bake of image *name*."""
    latest = json.loads((team.home / "cache" / "latest" / f"{name}.json").read_bytes())
    for key in latest["layer_keys"]:
        path = team.home / "cache" / "layers" / (key.removeprefix("sha256:") + ".json")
        record = json.loads(path.read_bytes())
        if record["name"] == layer:
            digest: str = record["layer"]["descriptor"]["digest"]
            return (store or team.home / "store") / "blobs" / digest.replace(":", "/")
    raise AssertionError(f"{name} has no layer {layer}")


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_damage_that_a_bake_meets_is_named_and_the_next_bake_mends_it(
    team: Any, docker: Callable[..., str]
) -> None:
    name = team.name()
    team.image(name, {"role": team.file_role(), "vars": {"app_text": name}})
    team.bake()
    digest = team.version(name)["index"]
    docker("image", "rm", f"kiln/{name}:1.0.1")
    blob = layer_blob(team, name, "app")
    damage(blob)
    failed = team.bake(ends=2)
    assert f"Blob sha256:{blob.name} in" in failed.output
    assert "is damaged: its content has the digest" in failed.output
    assert f"moved to {team.home}/store/quarantine/{blob.name}" in failed.output
    assert "Run the bake again" in failed.output
    again = team.bake()
    assert again.layers_run == ["app", "seal"]
    assert team.numbers(name) == ["1.0.1"]
    assert team.version(name)["index"] == digest
    assert team.cat(name, "/srv/app") == name
    assert "problems: 0" in team.play(FSCK).output


def test_fsck_finds_what_no_bake_met(team: Any) -> None:
    name = team.name()
    team.image(name, {"role": team.file_role(), "vars": {"app_text": name}})
    team.bake()
    blob = layer_blob(team, name, "app")
    damage(blob)
    looked = team.play(FSCK, "--check", ends=2)
    assert f"blob sha256:{blob.name} is damaged" in looked.output
    assert f"version {name} 1.0.1" in looked.output
    assert blob.exists()
    mended = team.play(FSCK, ends=2)
    assert f"These versions lack blobs: {name} 1.0.1." in mended.output
    assert not blob.exists()
    again = team.bake()
    assert again.layers_run == ["app", "seal"]
    assert blob.exists()
    assert "problems: 0" in team.play(FSCK).output


def test_garbage_goes_and_versions_stay(team: Any, docker: Callable[..., str]) -> None:
    name, role = team.name(), team.file_role()
    for text in (f"{name} one", f"{name} two"):
        team.image(name, {"role": role, "vars": {"app_text": text}})
        team.bake()
    listed = team.play(GC, "--check", "--diff", "-e", "kiln_cache_days=0")
    # The first version's records; its blobs are those of a version.
    assert "record layer app" in listed.output
    assert "record base" not in listed.output
    team.play(GC, "-e", "kiln_cache_days=0")
    assert "Freed 0.00 Bytes in 0 files" in team.play(GC, "-e", "kiln_cache_days=0").output
    assert "problems: 0" in team.play(FSCK).output
    assert f"{name} 1.0.2: nothing to do." in team.bake().output
    docker("image", "rm", f"kiln/{name}:1.0.2")
    again = team.bake()
    assert again.layers_run == []
    assert team.cat(name, "/srv/app", "1.0.2") == f"{name} two"


def test_garbage_is_not_collected_while_a_bake_goes_on(
    team: Any, until: Callable[[str, Callable[[], object]], None]
) -> None:
    name = team.name()
    wait = "- name: Wait\n  ansible.builtin.command: sleep 600\n  changed_when: false\n"
    team.image(name, team.file_role(), team.role("slow", wait))
    bake = team.start()
    try:
        layers = team.home / "cache" / "layers"
        until("the first layer", lambda: list(layers.glob("[!.]*.json")))
        refused = team.play(GC, "-e", "kiln_cache_days=0", "-e", "kiln_wait=0", ends=2)
        assert "Bakes are going on" in refused.output
        assert list(layers.glob("[!.]*.json"))
    finally:
        bake.send_signal(signal.SIGKILL)
        bake.wait()
    until("the end of its keeper", lambda: not team.sessions())
    team.play(GC, "-e", "kiln_cache_days=0", "-e", "kiln_wait=30")
    assert not list(layers.glob("[!.]*.json"))


def test_another_machine_takes_base_and_layers_from_the_shared_cache(
    team: Any, tmp_path: Path, docker: Callable[..., str]
) -> None:
    shared = tmp_path / "shared"
    name = team.name()
    roles = [team.file_role("first"), team.file_role("second")]
    team.image(name, *roles)
    team.bake("-e", f"kiln_cache_to={shared}")
    made = team.version(name)
    docker("image", "rm", f"kiln/{name}:1.0.1")
    # Nothing is there, and no base can be bootstrapped.
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "mmdebstrap").write_text("#!/bin/sh\necho no archive answers >&2\nexit 1\n")
    (tools / "mmdebstrap").chmod(0o755)
    path = f"{tools}:{team.variables()['PATH']}"
    fresh = replace(team, home=tmp_path / "fresh-home", environment={"PATH": path})
    arguments = ["-e", f"kiln_cache_from={shared}"]
    checked = fresh.bake("--check", *arguments)
    assert f"{name}: it was not baked here before" in checked.output
    assert not (fresh.home / "store").exists()
    taken = fresh.bake(*arguments)
    assert taken.layers_run == []
    assert "shared" in taken.output
    assert fresh.version(name)["index"] == made["index"]
    assert fresh.cat(name, "/srv/second") == "one"
    assert f"{name} 1.0.1: nothing to do." in fresh.bake(*arguments).output
    # A third machine, and a cache that lies about the second layer.
    docker("image", "rm", f"kiln/{name}:1.0.1")
    damage(layer_blob(team, name, "second", store=shared))
    third = replace(fresh, home=tmp_path / "third-home")
    mended = third.bake(*arguments, "-e", f"kiln_cache_to={shared}")
    assert f"The shared cache {shared} is not used for a layer: Blob sha256:" in mended.output
    assert mended.layers_run == ["second", "seal"]
    assert third.version(name)["index"] == made["index"]
    # What it made itself, it left there in the place of the damaged one.
    docker("image", "rm", f"kiln/{name}:1.0.1")
    fourth = replace(fresh, home=tmp_path / "fourth-home")
    assert fourth.bake(*arguments).layers_run == []
