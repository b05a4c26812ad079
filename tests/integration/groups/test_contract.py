# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real backends keep the contract that the simulated one keeps."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import Hook
from ansible_collections.kiln.immutable.tests.integration.groups.group import Group
from ansible_collections.kiln.immutable.tests.unit.groups.backends.contract import (
    BackendContract,
    Subject,
)


class TestReal(BackendContract):
    """Docker Engine and Swarm, one after the other."""

    @pytest.fixture
    def subject(self, group: Group) -> Iterator[Subject]:
        backend, others = group.backend(), []

        def other() -> object:
            others.append(group.backend())
            return others[-1]

        backend.prepare()
        subject = Subject(
            backend,
            group.release("v1"),
            group.definition.settings,
            other,  # type: ignore[arg-type]  # both kinds are backends
            lambda: time.sleep(0.1),
            Hook("migrate", "before", ("/bin/sh", "-c", "exit 3"), timeout=60),
        )
        yield subject
        subject.clear(subject.lock())
        for one in (backend, *others):
            one.close()
