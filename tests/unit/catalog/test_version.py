# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Version numbers and the record of a version."""

from __future__ import annotations

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.version import (
    Version,
    VersionNumber,
    next_number,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.builds(VersionNumber, st.integers(0, 3), st.integers(0, 3), st.integers(0, 2000))


@given(NUMBERS)
def test_a_number_is_read_back_as_it_was_written(number: VersionNumber) -> None:
    assert VersionNumber.parse(str(number)) == number


@pytest.mark.parametrize("text", ["", "1", "1.0", "1.0.x", "v1.0.1", "1.0.1-rc1", "1.0.1.yml"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(DriverError, match=r"no version number such as 1.4.7"):
        VersionNumber.parse(text)


def test_numbers_are_in_the_order_of_counting() -> None:
    texts = ["1.0.2", "1.0.10", "1.2.0", "1.10.0", "2.0.0"]
    assert [str(n) for n in sorted(map(VersionNumber.parse, reversed(texts)))] == texts


def test_a_series_begins_with_one() -> None:
    assert str(next_number("2.1", [])) == "2.1.1"


@given(st.lists(NUMBERS))
def test_the_next_number_is_new_and_the_highest_of_its_series(taken: list[VersionNumber]) -> None:
    following = next_number("1.2", taken)
    assert (following.major, following.minor) == (1, 2)
    assert following not in taken
    assert all(following > n for n in taken if (n.major, n.minor) == (1, 2))


VERSION = Version("web", "1.0.1", "i", "c", "k", "d", None, "2026-01-10T10:30:12Z", 7, "image", "b")


def test_a_version_is_read_back_as_it_was_written() -> None:
    assert Version.from_document(VERSION.as_document()) == VERSION


def test_a_record_that_lacks_something_is_damaged() -> None:
    document = VERSION.as_document()
    del document["index"]
    with pytest.raises(DriverError, match=r"damaged.*index"):
        Version.from_document(document)
