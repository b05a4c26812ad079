# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finished images are scanned and checked by the real tools; what these find decides."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from ansible_collections.kiln.immutable.plugins.module_utils.build.home import Home
from ansible_collections.kiln.immutable.plugins.module_utils.oci import predicates
from ansible_collections.kiln.immutable.tests.integration.controls.scanning import (
    Scans,
    run_playbook,
)
from ansible_collections.kiln.immutable.tests.integration.homes import copy_cache

PROFILE = "cis_level1_server"
CONTAINER = "guarded-container"
SERVERS = {"server": 5, "server-trixie": 8}
"""The VMs, and how many rules may fail of each, all of them waived."""

GOSS = """\
file:
  /etc/debian_version:
    exists: true
    contents: ["/^{release}/"]
process:
  sleep:
    running: true
"""


@dataclass(frozen=True, slots=True)
class Story:
    """What was said on the way of the images to a channel that asks for a scan."""

    scans: Scans
    unscanned: str
    refused: str
    scanned: str
    accepted: str


@pytest.fixture(scope="module")
def scans(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scans]:
    """Return a home with the layers of all images that are scanned."""
    shared = Home.at(None).root
    before = references()
    for folder in (checkout / "examples" / "servers", Path(__file__).parent / "images"):
        run_playbook(checkout, shared, "bake", images=str(folder))
    work = tmp_path_factory.mktemp("scans")
    (work / "images").mkdir()
    copy_cache(shared, work / "home")
    # Of a catalog of its own: a number there must not be another image's in the engine.
    series = f"900.{secrets.randbelow(1_000_000)}"
    yield Scans(checkout, work / "images", work / "home", series)
    new = sorted(references() - before)
    if new:
        subprocess.run(["docker", "image", "rm", *new], check=True, capture_output=True)


@pytest.fixture(scope="module")
def story(scans: Scans) -> Story:
    """Bake the container unscanned and ask for its promotion; then again, scanned, with the VMs."""
    container = Path(__file__).parent / "images" / f"{CONTAINER}.yml"
    running = {"user": "65534:65534", "entrypoint": ["/bin/sleep"], "cmd": ["infinity"]}
    scans.define(container, {}, config=running)
    unscanned = scans.bake()
    asked = {"profile": PROFILE, "minimum_score": 90}
    scans.ask_of_channel("prod", {"attestations": {"hardening": asked}})
    refused = promote(scans, ends=2)
    (scans.images / "goss.conf").write_text(GOSS.format(release="12"), "utf-8")
    seal = {"compliance": {"profile": PROFILE}, "goss": "goss.conf", "lynis": True}
    scans.define(container, seal, config=running)
    for name in SERVERS:
        source = scans.checkout / "examples" / "servers" / f"{name}.yml"
        scans.define(source, {"compliance": {"profile": PROFILE, "fail": "unwaived"}})
    scanned = scans.bake()
    return Story(scans, unscanned, refused, scanned, promote(scans))


def promote(scans: Scans, ends: int = 0) -> str:
    return scans.play("promote", ends=ends, image=CONTAINER, channel="prod", reason="It is done")


def references() -> set[str]:
    """Return the names that the engine has of the images that are scanned."""
    command = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
    for name in (CONTAINER, *SERVERS):
        command += ["--filter", f"reference=kiln/{name}"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_no_rule_that_applies_to_a_hardened_container_fails(story: Story) -> None:
    found = story.scans.statement(CONTAINER, predicates.HARDENING)
    assert (found["profile"], found["product"], found["result"]) == (PROFILE, "debian12", "passed")
    assert found["failed"] == found["waived"] == []
    assert found["score"] > 99
    # A scan that finds nothing out finds no fault either.
    assert found["counts"]["passed"] > 50
    assert found["counts"]["not_applicable"] > 50


@pytest.mark.parametrize(("name", "most"), SERVERS.items())
def test_the_few_rules_that_fail_of_a_hardened_vm_are_waived_with_a_reason(
    story: Story, name: str, most: int
) -> None:
    found = story.scans.statement(name, predicates.HARDENING)
    assert found["failed"] == []
    assert len(found["waived"]) <= most
    assert all(one["reason"] for one in found["waived"])
    # More applies to a VM than to a container.
    container = story.scans.statement(CONTAINER, predicates.HARDENING)
    assert found["counts"]["passed"] > container["counts"]["passed"]
    page = story.scans.page(name)
    assert all(one["rule"] in page for one in found["waived"])


def test_goss_asks_in_the_running_container(story: Story) -> None:
    found = story.scans.statement(CONTAINER, predicates.TEST_RESULT)
    assert found["result"] == "PASSED"
    assert "Process sleep: running" in found["passedTests"]
    assert len(found["passedTests"]) == 3


def test_lynis_looks_at_the_root(story: Story) -> None:
    found = story.scans.statement(CONTAINER, predicates.LYNIS)
    assert found["hardening_index"] > 50
    assert found["tests"] > 50


def test_what_was_found_is_told_and_in_the_report(story: Story) -> None:
    assert f"compliance: {PROFILE}, " in story.scanned
    assert "  goss: 3 passed\n" in story.scanned
    assert "  lynis: hardening index " in story.scanned
    page = story.scans.page(CONTAINER)
    for text in (PROFILE, "Process sleep: running", predicates.HARDENING, predicates.LYNIS):
        assert text in page


def test_a_scan_changes_no_version_and_leaves_nothing_behind(story: Story) -> None:
    assert f"{CONTAINER} {story.scans.version}, baked in" in story.unscanned
    assert story.scans.catalogued(CONTAINER)["number"] == story.scans.version
    versions = story.scans.home / "catalog" / "images" / CONTAINER / "versions"
    assert [path.stem for path in versions.iterdir()] == [story.scans.version]
    tools = f"name=kiln-(root|scan|checks|goss)-{CONTAINER}-"
    listing = ["docker", "ps", "--all", "--format", "{{.Names}}", "--filter", tools]
    assert subprocess.run(listing, check=True, capture_output=True, text=True).stdout == ""


def test_a_channel_that_asks_for_a_scan_refuses_a_version_without_one(story: Story) -> None:
    assert "attestations.hardening: nobody attests it" in story.refused
    assert f"{CONTAINER} prod points to {story.scans.version}" in story.accepted


def test_a_rule_that_fails_without_a_waiver_stops_the_version(scans: Scans, story: Story) -> None:
    assert story.accepted
    # The same container with its first layer alone.
    source = Path(__file__).parent / "images" / f"{CONTAINER}.yml"
    first = yaml.safe_load(source.read_text("utf-8"))["layers"][:1]
    bare = Scans(scans.checkout, scans.images / "bare", scans.home, f"{scans.series}1")
    bare.images.mkdir()
    bare.define(source, {"compliance": {"profile": PROFILE}}, layers=first)
    said = bare.bake(ends=2)
    assert f"{CONTAINER} gets no version." in said
    assert f"rules of {PROFILE} fail without a waiver:" in said
    assert bare.catalogued(CONTAINER) == {}
