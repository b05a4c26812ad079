# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host is being baked: the decision that every role of ours rests on.

What can be proved, and what cannot:

- A *bake of ours* proves itself by a random id that only this run knows, found again on the
  target in a file system that lives in memory. A marker baked into an image cannot hold it: the
  id is new for each run, and a tmpfs over /run hides what an image has there.
- *Packer* is known by the variables it passes on the command line together with a trace that its
  process leaves on the controller: the run's id in the environment (remote provisioner), or the
  staging directory or inventory file that it makes on the machine being built (ansible-local).
- *Molecule* is known by its environment on the controller and by the host being one of the
  scenario's platforms.
- A *chroot* is known by the connection; its root must be another one than the controller's.
- Two roots are the same one when they are of the same boot and have the same device and inode.
  A container on the controller differs from it in the second, another machine in the first.

An operator who forges both sides on purpose (variables, environment, root on the target) cannot
be told from the real thing; this keeps out mistakes, not root. All unproved claims are refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

HOW_TO_BAKE = "ansible-playbook kiln.immutable.bake -e kiln_images=images/"

SESSION_FILE = "/run/kiln/session"

PROBE = (
    "echo boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null); "
    "echo root=$(stat -L -c %d:%i / 2>/dev/null); "
    "echo run=$(stat -f -c %T /run 2>/dev/null); "
    f"echo session=$(cat {SESSION_FILE} 2>/dev/null)"
)
"""POSIX shell, without quotes: what the target says of itself, one ``name=value`` a line."""

_STAGING = re.compile(r"/packer-provisioner-ansible-local(/|[^/]*$)")
_SESSION_LENGTH = 16


class Way(StrEnum):
    """How a host comes to be baked."""

    BAKE = "bake"
    PACKER = "packer"
    PACKER_LOCAL = "packer-local"
    MOLECULE = "molecule"
    CHROOT = "chroot"


@dataclass(frozen=True, slots=True)
class Root:
    """A root file system of a running kernel; an empty field could not be found out."""

    boot: str = ""
    root: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What the target says of itself."""

    root: Root = field(default_factory=Root)
    run_filesystem: str = ""
    session: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known about a host before anything is done to it.

    :param transport: the connection plugin's last name: ssh, docker, local, chroot.
    :param session: the host variable ``kiln_session``, unless it came from the command line.
    :param packer_variables: both of Packer's variables came from the command line.
    :param packer_run: Packer's run id is in the controller's environment.
    :param play_sources: the play's directory and its inventory's files.
    :param molecule: this process was started by Molecule for a scenario.
    :param molecule_platforms: the hosts that the scenario names; may be empty.
    :param target: None when the target was not asked.
    """

    host: str
    transport: str
    session: str = ""
    packer_variables: bool = False
    packer_run: bool = False
    play_sources: tuple[str, ...] = ()
    molecule: bool = False
    molecule_platforms: tuple[str, ...] = ()
    controller: Root = field(default_factory=Root)
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Allowed:
    """The host is being baked."""

    way: Way


@dataclass(frozen=True, slots=True)
class Refused:
    """The host is not being baked, as far as can be proved."""

    host: str
    reason: str

    @property
    def message(self) -> str:
        """The refusal, and how to bake instead."""
        return (
            f"{self.host} is not being baked ({self.reason}), and what runs is replaced, never "
            f"changed: put this role into an image and run `{HOW_TO_BAKE}`."
        )


def read_probe(lines: Sequence[str]) -> Target:
    """Return what the target answered to ``PROBE``; what it did not say is empty."""
    said: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.strip().partition("=")
        if equals:
            said.setdefault(name, value)
    return Target(
        root=Root(boot=said.get("boot", ""), root=said.get("root", "")),
        run_filesystem=said.get("run", ""),
        session=said.get("session", ""),
    )


def claim(evidence: Evidence) -> Way | Refused:
    """Return the way in that *evidence* points to, judged by the controller alone.

    A refusal here needs no look at the target, so a server is never even contacted.
    """
    if evidence.session:
        return Way.BAKE
    if evidence.packer_variables:
        if evidence.transport == "local":
            if any(_STAGING.search(source) for source in evidence.play_sources):
                return Way.PACKER_LOCAL
            return Refused(
                evidence.host,
                "Packer's variables are set, but the play is not in ansible-local's directory",
            )
        if evidence.packer_run:
            return Way.PACKER
        return Refused(
            evidence.host, "Packer's variables are set, but Packer did not start this run"
        )
    if evidence.molecule:
        if evidence.transport == "local":
            return Refused(evidence.host, "Molecule runs it on the controller itself")
        if evidence.molecule_platforms and evidence.host not in evidence.molecule_platforms:
            return Refused(evidence.host, "it is not a platform of the Molecule scenario")
        return Way.MOLECULE
    if evidence.transport.endswith("chroot"):
        return Way.CHROOT
    return Refused(
        evidence.host, "neither a bake of ours, nor Packer, nor Molecule, nor a chroot is at work"
    )


def decide(evidence: Evidence) -> Allowed | Refused:
    """Return whether the host is being baked, and which way, or why it is taken not to be."""
    way = claim(evidence)
    if isinstance(way, Refused):
        return way
    reason = _disproof(way, evidence)
    return Refused(evidence.host, reason) if reason else Allowed(way)


def _disproof(way: Way, evidence: Evidence) -> str:
    """Return what speaks against *way*, or nothing when it is proved."""
    target = evidence.target
    if target is None or not target.root.root:
        return "it did not say what its root file system is"
    if way is Way.BAKE:
        return _session_disproof(evidence.session, target)
    if way is Way.PACKER_LOCAL:
        return ""
    if way is Way.CHROOT:
        # The same kernel, and /proc is often not mounted in there: the root alone tells.
        same = target.root.root == evidence.controller.root
    else:
        if not target.root.boot:
            return "it did not say which boot it is of"
        same = target.root == evidence.controller
    return "it is the controller itself" if same else ""


def _session_disproof(session: str, target: Target) -> str:
    if len(session) < _SESSION_LENGTH or target.session != session:
        return f"its {SESSION_FILE} is not of this bake"
    if target.run_filesystem != "tmpfs":
        return f"its {SESSION_FILE} is not in memory, so it may come from an image"
    return ""
