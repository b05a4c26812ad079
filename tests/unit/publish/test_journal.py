# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a killed upload left is read as far as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.publish.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "publishing" / "one.journal"


def test_what_was_noted_is_known_to_the_next_run(path: Path) -> None:
    first, second = Journal(path), Journal(path)
    with first.held(what="it"):
        first.begin("snap-1")
        first.note(3)
        first.note(12)

    with second.held(what="it"):
        assert (second.upload, second.received) == ("snap-1", {3, 12})


def test_a_line_that_was_cut_short_does_not_count(path: Path) -> None:
    journal = Journal(path)
    path.parent.mkdir()
    path.write_text("snap-1\n3\n1")

    with journal.held(what="it"):
        assert journal.received == {3}

    path.write_text("snap-")
    with journal.held(what="it"):
        assert journal.upload == ""


def test_nothing_is_left_of_an_upload_that_ended(path: Path) -> None:
    journal = Journal(path)
    with journal.held(what="it"):
        journal.begin("snap-1")
        journal.end()

    assert not path.exists()


def test_two_runs_are_not_at_the_same_upload(path: Path) -> None:
    with (
        Journal(path).held(what="it"),
        pytest.raises(DriverError, match="Another run is at the snapshot"),
        Journal(path).held(what="the snapshot"),
    ):
        pass
