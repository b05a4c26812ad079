# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backend cannot honour is refused before anything is done, with the line that asks."""

from __future__ import annotations

from ..core.errors import DriverError
from .definition_model import GroupDefinition
from .model import Capabilities
from .policy import Strategy


def refuse(definition: GroupDefinition, can: Capabilities) -> None:
    """Raise one DriverError with a sentence for everything that the backend cannot do."""
    found = refusals(definition, can)
    if found:
        raise DriverError("\n".join(found), details={"refused": found})


def refusals(definition: GroupDefinition, can: Capabilities) -> list[str]:
    """Return a sentence for each wish of *definition* that *can* does not cover."""
    policy, name = definition.policy, f"the backend {can.name}"
    found: list[str] = []

    def add(path: str, says: str) -> None:
        found.append(f"{definition.at(path)} {says}.")

    if policy.strategy is Strategy.CANARY and not can.weights:
        add("policy.strategy", f"is canary, and {name} cannot give instances a part of the traffic")
    if policy.strategy is Strategy.BLUE_GREEN and not can.blue_green:
        add("policy.strategy", f"is blue_green, and {name} cannot switch all traffic at once")
    if definition.drain_time > 0 and "drain_time" in definition.document and not can.drain:
        add("drain_time", f"is given, and {name} cannot tell when requests have ended")
    if definition.hooks and not can.hooks:
        add("hooks", f"are given, and {name} runs no containers of its own")
    if len(definition.backend.hosts) > 1 and not can.hosts:
        add("backend.hosts", f"has {len(definition.backend.hosts)}, and {name} takes one")
    if definition.stop_first and not can.exclusive_volumes:
        add("volumes", f"has an exclusive one, and {name} cannot tie one to an instance")
    for at, check in enumerate(definition.health):
        if check.kind not in can.health:
            add(f"health[{at}]", f"is {check.kind}, and {name} does {', '.join(can.health)}")
    for at, port in enumerate(definition.ports):
        if port.mode not in can.modes:
            add(f"ports[{at}]", f"is {port.mode}, and {name} does {', '.join(can.modes)}")
    return found
