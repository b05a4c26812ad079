# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which number disks bear that have to say it before their version has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.kiln.immutable.plugins.module_utils.build.disk.making import (
    bearing_its_number,
)


@dataclass
class Catalog:
    """Versions by number: the key of their bake, and their index."""

    versions: Mapping[str, tuple[str, str]]
    next: str
    made: list[str] = field(default_factory=list)

    def given(self, bake_key: str) -> Sequence[str]:
        """Return the numbers that bakes with this key got."""
        return [number for number, (key, _index) in self.versions.items() if key == bake_key]

    def of(self, index: str) -> str:
        """Return the number that the index has, or would get."""
        return next((n for n, (_key, its) in self.versions.items() if its == index), self.next)

    def settle(self, content: str) -> str | None:
        """Bake *content*, whose disks bear their number, with the key ``key``."""

        def make(number: str) -> str:
            self.made.append(number)
            return f"{content} {number}"

        return bearing_its_number(self, "key", make, lambda index: index)


def test_the_first_one_bears_the_next_number() -> None:
    assert Catalog({}, "1.0.1").settle("web") == "web 1.0.1"


def test_what_was_baked_before_bears_the_number_that_it_has() -> None:
    catalog = Catalog({"1.0.1": ("key", "web 1.0.1"), "1.0.2": ("other", "app 1.0.2")}, "1.0.3")

    assert catalog.settle("web") == "web 1.0.1"
    assert catalog.made == ["1.0.1"]


def test_what_came_to_other_bytes_gets_the_next_number() -> None:
    catalog = Catalog({"1.0.1": ("key", "web 1.0.1")}, "1.0.2")

    assert catalog.settle("newer tools") == "newer tools 1.0.2"
    assert catalog.made == ["1.0.1", "1.0.2"]


def test_a_number_that_somebody_else_took_meanwhile_is_borne_by_nothing() -> None:
    class Racing(Catalog):
        def of(self, index: str) -> str:
            return "1.0.2" if index else "1.0.1"

    assert Racing({}, "1.0.1").settle("web") is None
