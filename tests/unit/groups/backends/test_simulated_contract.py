# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated backend keeps the contract of the real ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.simulated import (
    Simulated,
    Time,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import Hook
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import Release
from ansible_collections.kiln.immutable.plugins.module_utils.groups.policy import Bounds
from ansible_collections.kiln.immutable.tests.unit.groups.backends.contract import (
    BackendContract,
    Subject,
)

RELEASE = Release("web", "1.0.1", "sha256:" + "1" * 64, "kiln/web:1.0.1")


class TestSimulated(BackendContract):
    """The platform in memory."""

    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        time = Time()
        backend = Simulated(time, "sha256:settings", Bounds(1, 1, 0, 1), hook_status=3)
        yield Subject(
            backend,
            RELEASE,
            "sha256:settings",
            lambda: backend,
            lambda: time.sleep(1.0),
            Hook("migrate", "before", ("migrate",)),
        )
        assert backend.broken_rules == []
