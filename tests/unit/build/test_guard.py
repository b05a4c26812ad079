# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts pass the guard, decided on evidence alone."""

from __future__ import annotations

import dataclasses
import subprocess

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.guard import (
    HOW_TO_BAKE,
    PROBE,
    Allowed,
    Evidence,
    Refused,
    Root,
    Target,
    Way,
    claim,
    decide,
    read_probe,
)

SESSION = "0123456789abcdef"
CONTROLLER = Root(boot="b1", root="8:2")
ELSEWHERE = Root(boot="b1", root="50:7")

BARE = Evidence(host="web1", transport="ssh", controller=CONTROLLER, target=Target(root=ELSEWHERE))
BAKE = dataclasses.replace(
    BARE,
    transport="docker",
    session=SESSION,
    target=Target(root=ELSEWHERE, run_filesystem="tmpfs", session=SESSION),
)
PACKER = dataclasses.replace(BARE, packer_variables=True, packer_run=True)
PACKER_LOCAL = dataclasses.replace(
    BARE,
    transport="local",
    packer_variables=True,
    play_sources=("/tmp/packer-provisioner-ansible-local/5f2c", "inventory"),
    target=Target(root=CONTROLLER),
)
MOLECULE = dataclasses.replace(BARE, molecule=True, molecule_platforms=("web1",))
CHROOT = dataclasses.replace(BARE, transport="chroot", target=Target(root=Root(root="50:7")))


@pytest.mark.parametrize(
    ("evidence", "way"),
    [
        (BAKE, Way.BAKE),
        (PACKER, Way.PACKER),
        (PACKER_LOCAL, Way.PACKER_LOCAL),
        (
            dataclasses.replace(
                PACKER_LOCAL, play_sources=("/opt/x", "/opt/x/packer-provisioner-ansible-local12")
            ),
            Way.PACKER_LOCAL,
        ),
        (MOLECULE, Way.MOLECULE),
        (dataclasses.replace(MOLECULE, molecule_platforms=()), Way.MOLECULE),
        (CHROOT, Way.CHROOT),
    ],
)
def test_a_host_that_is_being_baked_passes(evidence: Evidence, way: Way) -> None:
    assert decide(evidence) == Allowed(way)


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (BARE, "neither a bake"),
        (dataclasses.replace(BARE, transport="local"), "neither a bake"),
        (dataclasses.replace(BARE, transport="docker"), "neither a bake"),
        (dataclasses.replace(BAKE, target=None), "did not say"),
        (
            dataclasses.replace(
                BAKE, target=Target(root=ELSEWHERE, run_filesystem="overlayfs", session=SESSION)
            ),
            "may come from an image",
        ),
        (
            dataclasses.replace(
                BAKE, target=Target(root=ELSEWHERE, run_filesystem="tmpfs", session=SESSION[::-1])
            ),
            "not of this bake",
        ),
        (
            dataclasses.replace(
                BAKE,
                session="1",
                target=Target(root=ELSEWHERE, run_filesystem="tmpfs", session="1"),
            ),
            "not of this bake",
        ),
        (dataclasses.replace(PACKER, packer_run=False), "did not start this run"),
        (dataclasses.replace(PACKER, target=Target(root=CONTROLLER)), "the controller itself"),
        (
            dataclasses.replace(PACKER, target=Target(root=Root(root="50:7"))),
            "which boot",
        ),
        (dataclasses.replace(PACKER_LOCAL, play_sources=("/srv/plays",)), "directory"),
        (
            dataclasses.replace(
                PACKER_LOCAL, play_sources=("/x/packer-provisioner-ansible-localx/y",)
            ),
            "directory",
        ),
        (dataclasses.replace(MOLECULE, molecule_platforms=("db1",)), "not a platform"),
        (dataclasses.replace(MOLECULE, transport="local"), "controller itself"),
        (dataclasses.replace(MOLECULE, target=Target(root=CONTROLLER)), "controller itself"),
        (
            dataclasses.replace(CHROOT, target=Target(root=Root(root=CONTROLLER.root))),
            "controller itself",
        ),
    ],
)
def test_a_host_that_is_not_proved_to_be_baked_is_refused(evidence: Evidence, reason: str) -> None:
    decision = decide(evidence)
    assert isinstance(decision, Refused)
    assert reason in decision.reason
    assert decision.message.startswith("web1 is not being baked (")
    assert HOW_TO_BAKE in decision.message
    assert "\n" not in decision.message


def test_a_server_is_refused_without_asking_it() -> None:
    assert isinstance(claim(dataclasses.replace(BARE, target=None)), Refused)


def test_the_probe_is_read_back() -> None:
    done = subprocess.run(["sh", "-c", PROBE], capture_output=True, text=True, check=True)
    target = read_probe(done.stdout.splitlines())
    assert target.root.root.count(":") == 1
    assert target.run_filesystem != ""


def test_only_the_first_answer_counts() -> None:
    lines = ["boot=b1", "root=8:2", "run=tmpfs", "session=abc", "session=def", "noise"]
    assert read_probe(lines) == Target(
        root=Root("b1", "8:2"), run_filesystem="tmpfs", session="abc"
    )
