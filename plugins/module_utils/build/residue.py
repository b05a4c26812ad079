# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bake must not leave in an image, as data.

Patterns are those of Python's fnmatch, relative to the root without a leading slash; ``*``
crosses directories. Two lists: what layer capture never sees (``INVISIBLE``), and what the seal
role takes away (``SEALED``).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Treatment(StrEnum):
    """What happens to a path that matches.

    Symbolic links and directories are touched by ``TREE`` only: a package's empty directory and
    a history file that was linked to /dev/null on purpose both stay.
    """

    HIDE = "hide"
    REMOVE = "remove"
    EMPTY = "empty"
    TREE = "tree"


@dataclass(frozen=True, slots=True)
class Residue:
    """One kind of left-over: where, what to do with it, and why it may not stay."""

    pattern: str
    treatment: Treatment
    reason: str


def _each(treatment: Treatment, reason: str, *patterns: str) -> tuple[Residue, ...]:
    return tuple(Residue(pattern, treatment, reason) for pattern in patterns)


UNSEEN: tuple[Residue, ...] = (
    *_each(Treatment.HIDE, "kernel and run-time file systems", "dev/*", "proc/*", "run/*", "sys/*"),
    *_each(Treatment.HIDE, "temporary files", "tmp/*", "var/tmp/*"),
    *_each(Treatment.HIDE, "the container engine's marker", ".dockerenv", ".containerenv"),
    *_each(
        Treatment.HIDE,
        "package lists and archives: they come from volumes shared by all bakes",
        "var/cache/apt/archives/*",
        "var/lib/apt/lists/*",
    ),
    *_each(Treatment.HIDE, "apt's binary cache differs from run to run", "var/cache/apt/*.bin"),
    *_each(
        Treatment.HIDE,
        "logs of the build carry its times",
        "var/log/alternatives.log",
        "var/log/apt/*",
        "var/log/bootstrap.log",
        "var/log/dpkg.log",
    ),
    *_each(
        Treatment.HIDE,
        "the linker's auxiliary cache holds inode numbers and times",
        "var/cache/ldconfig/aux-cache",
    ),
    *_each(
        Treatment.HIDE,
        "backup copies of the package database",
        "var/cache/debconf/*-old",
        "var/lib/dpkg/*-old",
        "var/lib/dpkg/lock",
        "var/lib/dpkg/lock-frontend",
        "var/lib/dpkg/triggers/Lock",
    ),
    *_each(
        Treatment.HIDE,
        "identities that every instance would share; hidden, they are in no lower layer either",
        "etc/ssh/ssh_host_*_key",
        "etc/ssh/ssh_host_*_key.pub",
        "var/lib/dbus/machine-id",
        "var/lib/systemd/credential.secret",
        "var/lib/systemd/random-seed",
    ),
    *_each(Treatment.HIDE, "keeps services from starting in a bake", "usr/sbin/policy-rc.d"),
    *_each(Treatment.HIDE, "Ansible's own files on its target", "root/.ansible", "root/.ansible/*"),
)

INVISIBLE: tuple[str, ...] = tuple(residue.pattern for residue in UNSEEN)
"""fnmatch patterns of what a bake's layer capture never sees."""

_HISTORY = (
    ".ash_history",
    ".bash_history",
    ".lesshst",
    ".mysql_history",
    ".node_repl_history",
    ".psql_history",
    ".python_history",
    ".sqlite_history",
    ".sudo_as_admin_successful",
    ".viminfo",
    ".wget-hsts",
    ".zsh_history",
)

SEALED: tuple[Residue, ...] = (
    *_each(
        Treatment.REMOVE,
        "package lists and archives",
        "var/cache/apt/*.bin",
        "var/cache/apt/archives/*",
        "var/lib/apt/lists/*",
        "var/lib/apt/periodic/*",
    ),
    *_each(
        Treatment.REMOVE,
        "logs of the build",
        "var/log/alternatives.log",
        "var/log/ansible.log",
        "var/log/apt/*",
        "var/log/bootstrap.log",
        "var/log/cloud-init*.log",
        "var/log/dpkg.log",
        "var/log/unattended-upgrades/*",
        "var/log/*.gz",
        "var/log/*.old",
        "var/log/*.[0-9]",
    ),
    *_each(
        Treatment.TREE,
        "the journal and installer logs of the build machine",
        "var/log/installer",
        "var/log/journal/*",
    ),
    # A log that a package made for its service keeps its owner and mode.
    *_each(Treatment.EMPTY, "log entries of the build", "var/log/*"),
    *_each(
        Treatment.REMOVE,
        "host keys that every instance would share",
        "etc/ssh/ssh_host_*_key",
        "etc/ssh/ssh_host_*_key.pub",
    ),
    *_each(
        Treatment.EMPTY,
        "an identity that every instance would share; an empty file is made anew at boot",
        "etc/machine-id",
    ),
    *_each(
        Treatment.REMOVE,
        "an identity or seed that every instance would share",
        "boot/efi/loader/random-seed",
        "var/lib/dbus/machine-id",
        "var/lib/dhcp/*.lease*",
        "var/lib/NetworkManager/*.lease",
        "var/lib/NetworkManager/secret_key",
        "var/lib/systemd/credential.secret",
        "var/lib/systemd/random-seed",
        "var/lib/systemd/timesync/clock",
        "var/lib/urandom/random-seed",
    ),
    *_each(
        Treatment.TREE,
        "instance data of the build machine",
        "var/lib/cloud/*",
        "etc/sudoers.d/90-cloud-init-users",
    ),
    *_each(
        Treatment.REMOVE,
        "shell history",
        *(f"root/{name}" for name in _HISTORY),
        *(f"home/*/{name}" for name in _HISTORY),
    ),
    *_each(
        Treatment.TREE,
        "files of the build tools",
        "root/.ansible",
        "root/.cache",
        "home/*/.ansible",
        "home/*/.cache",
    ),
    *_each(Treatment.TREE, "temporary files", "tmp/*", "var/tmp/*"),
    *_each(
        Treatment.REMOVE,
        "crash dumps",
        "core",
        "core.[0-9]*",
        "var/crash/*",
        "var/lib/systemd/coredump/*",
    ),
    *_each(
        Treatment.REMOVE,
        "backup copies of the package and account databases",
        "etc/group-",
        "etc/gshadow-",
        "etc/passwd-",
        "etc/shadow-",
        "etc/subgid-",
        "etc/subuid-",
        "var/backups/*",
        "var/cache/debconf/*-old",
        "var/lib/dpkg/*-old",
    ),
    *_each(
        Treatment.REMOVE,
        "the linker's auxiliary cache holds inode numbers and times",
        "var/cache/ldconfig/aux-cache",
    ),
)
"""What the seal role removes or empties; the first entry that matches decides."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """Finds the entry for a path, with one regular expression for all entries."""

    residues: tuple[Residue, ...]
    expression: re.Pattern[str]

    @classmethod
    def of(cls, residues: Iterable[Residue]) -> Matcher:
        """Return a matcher over *residues*, in their order."""
        kept = tuple(residues)
        joined = "|".join(
            f"(?P<r{index}>{fnmatch.translate(residue.pattern)})"
            for index, residue in enumerate(kept)
        )
        return cls(kept, re.compile(joined or r"(?!)"))

    def __call__(self, path: str) -> Residue | None:
        """Return the first entry whose pattern matches *path* (relative to the root), or None."""
        found = self.expression.match(path)
        if found is None or found.lastgroup is None:
            return None
        return self.residues[int(found.lastgroup[1:])]


_UNSEEN = Matcher.of(UNSEEN)


def is_invisible(path: str) -> bool:
    """Return whether layer capture never sees *path* (relative to the root)."""
    return _UNSEEN(path) is not None
