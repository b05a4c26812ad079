# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control: one thing that a hardened image holds to, and how that is proved. Values alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

KINDS = ("container", "vm")
RELEASES = ("bookworm", "trixie")


@dataclass(frozen=True, slots=True)
class Undo:
    """One step that takes a control's setting away in a finished root.

    :param operation: ``remove``, ``drop_line``, ``replace``, ``append``, ``create``, ``mode``,
        ``owner`` or ``command``.
    :param path: absolute; empty for ``command``.
    :param match: a regular expression of Python's, searched for in each line.
    :param text: the replacement, the line, the content or the command.
    :param mode: four octal digits.
    :param owner: ``NAME`` or ``NAME:GROUP``.
    """

    operation: str
    path: str = ""
    match: str = ""
    text: str = ""
    mode: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """What a role sees to, or (with a waiver) deliberately does not.

    :param control: its id, unique in the collection.
    :param cis: sections of the CIS Debian Linux Benchmarks by release.
    :param anssi: recommendations of ANSSI-BP-028.
    :param openscap: rule ids without ``xccdf_org.ssgproject.content_rule_``.
    :param variable: the role's variable that sets it.
    :param check: a function in ``tests/testinfra/controls/test_ROLE.py``; empty with a waiver.
    :param waiver: why it is not done; empty when it is.
    :param at: ``FILE:LINE``.
    """

    control: str
    role: str
    title: str
    why: str = ""
    cis: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    anssi: tuple[str, ...] = ()
    openscap: tuple[str, ...] = ()
    variable: str = ""
    kinds: tuple[str, ...] = KINDS
    releases: tuple[str, ...] = RELEASES
    check: str = ""
    undo: tuple[Undo, ...] = ()
    waiver: str = ""
    at: str = field(default="", compare=False)

    def holds(self, kind: str, release: str) -> bool:
        """Return whether it is about images of *kind* made from Debian *release*."""
        return kind in self.kinds and release in self.releases
