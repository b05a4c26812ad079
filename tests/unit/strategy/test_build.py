# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many images a bake has on their way at once."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleError
from ansible_collections.kiln.immutable.plugins.strategy.build import builds_at_once


@pytest.mark.parametrize(
    ("wanted", "forks", "processors", "at_once"),
    [(None, None, 2, 4), (None, 3, 8, 3), (1, None, 8, 1), ("6", 3, 2, 6)],
    ids=["two for each processor", "the forks chosen", "the variable", "the variable before forks"],
)
def test_the_number_of_builds_at_once(
    wanted: object, forks: int | None, processors: int, at_once: int
) -> None:
    assert builds_at_once(wanted, forks, processors) == at_once


@pytest.mark.parametrize("wanted", [0, -1, "many", "", 1.5])
def test_what_is_no_number_of_builds_is_refused(wanted: object) -> None:
    with pytest.raises(AnsibleError, match="kiln_parallel is"):
        builds_at_once(wanted, None, 2)
