# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Swarm is told, and when."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.swarm import (
    SwarmBackend,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    BackendChoice,
    GroupDefinition,
    HealthCheck,
    ImageChoice,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.model import Lock, Stop

GROUP = GroupDefinition(
    "web",
    ImageChoice("web", version="1.0.1"),
    1,
    backend=BackendChoice("swarm"),
    health=(HealthCheck("engine"),),
)
LOCK = {"holder": "ada", "token": "1", "since": 0.0, "until": 100.0}


class Swarm:
    """A manager that ends a task in several steps, and notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.seconds = 0.0
        self._tasks = [
            "Running 5 minutes ago Remove",
            "Shutdown 1 second ago Remove",
            "",
        ]

    def __call__(self, argv: Sequence[str], **_more: object) -> Completed:
        words = list(argv[1:])
        self.told.append(" ".join(words[:2]))
        said = ""
        if words[:2] == ["config", "ls"]:
            said = "kiln-web-lock.1"
        elif words[:2] == ["config", "inspect"]:
            said = json.dumps(list(json.dumps(LOCK).encode()))
        elif words[:2] == ["service", "ps"] and "--format" in words:
            said = self._tasks.pop(0)
        elif words[:2] == ["service", "inspect"]:
            said = "[]"
        return Completed(0, said.encode(), b"")

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float, /) -> None:
        self.seconds += seconds


def test_a_service_goes_only_when_its_tasks_were_cleared_away() -> None:
    swarm = Swarm()
    backend = SwarmBackend(GROUP, runner=swarm, clock=swarm, now=lambda: 1.0)
    (outcome,) = backend.apply([Stop("web-1")], Lock("ada", "1", 0.0, 100.0))
    backend.close()
    assert outcome.fault is None, outcome.message
    asked = [words for words in swarm.told if words.startswith("service")]
    assert asked[-5:] == ["service update", *["service ps"] * 3, "service rm"]
