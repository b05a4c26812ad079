# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a group's definition that says how instances are replaced."""

from __future__ import annotations

from ..core.yaml_fields import Field, Section
from .definition_values import amount, choice, command, decimal, duration, seconds, text, whole
from .policy import MIN_READY, Amount, CanaryStep, Gate, OnFailure, Policy, Strategy

GATES = ("prometheus", "command", "approval")
PLACES = ("step", "start", "end")
OPERATORS = ("<=", "<", ">=", ">")
_DAYS_OF_APPROVAL = 86_400.0


def read_policy(top: Section, exclusive: bool) -> Policy:
    """Return the ``policy`` of a definition.

    :param exclusive: the group has an exclusive volume, so instances are handed over stop-first.
    """
    field = top.get("policy")
    if field is None:
        return Policy(max_unavailable=Amount(1) if exclusive else Amount(0))
    section = field.section("{strategy: rolling, max_surge: 1}")
    strategy = Strategy(choice(section, "strategy", [one.value for one in Strategy]))
    surge, unavailable = amount(section, "max_surge"), amount(section, "max_unavailable")
    lifetime = section.get("max_lifetime")
    found = Policy(
        strategy=strategy,
        max_surge=surge if surge is not None else _surge(strategy),
        max_unavailable=unavailable if unavailable is not None else Amount(int(exclusive)),
        batch=amount(section, "batch"),
        min_ready=seconds(section, "min_ready", MIN_READY),
        start_timeout=seconds(section, "start_timeout", 120.0, least=1.0),
        bake_time=seconds(section, "bake_time", 0.0),
        steps=_steps(section, strategy),
        deadline=seconds(section, "deadline", 1800.0, least=1.0),
        failure_threshold=whole(section, "failure_threshold", 1, least=1),
        on_failure=OnFailure(choice(section, "on_failure", [one.value for one in OnFailure])),
        max_lifetime=duration(lifetime, least=60.0) if lifetime is not None else None,
        jitter=whole(section, "jitter", 10, most=90),
        gates=_gates(section),
    )
    section.close()
    _check(section, found, exclusive)
    return found


def _surge(strategy: Strategy) -> Amount:
    return Amount(100, percent=True) if strategy is Strategy.BLUE_GREEN else Amount(1)


def _check(section: Section, policy: Policy, exclusive: bool) -> None:
    unavailable = section.get("max_unavailable")
    if exclusive and policy.max_unavailable.number == 0:
        where = unavailable or section.field
        where.complain(
            "lets no instance be missing, but an exclusive volume is handed over stop-first; "
            "give max_unavailable of 1 or more, or share the volume"
        )
    elif policy.max_surge.number == 0 and policy.max_unavailable.number == 0:
        (section.get("max_surge") or section.field).complain(
            "is 0 and so is max_unavailable: nothing could ever be replaced; raise one of them"
        )
    waits = policy.bake_time + sum(step.pause or 0.0 for step in policy.steps)
    if waits >= policy.deadline:
        (section.get("deadline") or section.field).complain(
            f"gives {policy.deadline:g} s to rotations that wait {waits:g} s in bake_time and "
            "steps alone; give a longer deadline"
        )
    if policy.strategy is Strategy.BLUE_GREEN:
        surge = section.get("max_surge")
        if surge is not None and policy.max_surge != Amount(100, percent=True):
            surge.complain("must be 100% for blue_green, which runs both versions side by side")
        if exclusive:
            section.field.complain(
                "is blue_green, but an exclusive volume cannot be at both versions' instances; "
                "use rolling"
            )
    if policy.strategy is Strategy.CANARY and exclusive:
        section.field.complain(
            "is canary, whose weights need instances side by side; an exclusive volume is handed "
            "over stop-first, so use rolling"
        )


def _steps(section: Section, strategy: Strategy) -> tuple[CanaryStep, ...]:
    field = section.get("steps")
    if field is None:
        if strategy is Strategy.CANARY:
            section.field.complain(
                "is canary without steps; give some, such as [{weight: 10, pause: 5m}]"
            )
        return ()
    if strategy is not Strategy.CANARY:
        field.complain("are for the strategy canary only")
    steps: list[CanaryStep] = []
    for item in field.items("[{weight: 10, pause: 5m}]"):
        inner = item.section("{weight: 10, pause: 5m}")
        weight = inner.require("weight", "say which part of the traffic, in percent")
        share = weight.count(1) if weight is not None else None
        if weight is not None and share is not None and share > 99:
            weight.complain(f"is {share}; a step's share is from 1 to 99, all of it comes after")
        pause = inner.get("pause")
        if share is not None and steps and share <= steps[-1].weight:
            item.complain(f"has weight {share}; each step's is above the one before")
        steps.append(CanaryStep(share or 1, _pause(pause)))
        inner.close()
    return tuple(steps)


def _pause(field: Field | None) -> float | None:
    if field is None:
        return 0.0
    if field.is_text and field.node.value == "approval":
        return None
    return duration(field)


def _gates(section: Section) -> tuple[Gate, ...]:
    field = section.get("gates")
    found: list[Gate] = []
    for item in field.items("[{name: errors, kind: command}]") if field is not None else ():
        inner = item.section("{name: errors, kind: command}")
        named = inner.require("name", "give the gate a name, by which it is approved and told of")
        kind_field = inner.require("kind", "it must be prometheus, command or approval")
        kind = (kind_field.choice(GATES) if kind_field is not None else None) or ""
        name = (named.text() if named is not None else None) or ""
        limit = _DAYS_OF_APPROVAL if kind == "approval" else 60.0
        gate = Gate(
            name=name,
            kind=kind,
            at=choice(inner, "at", PLACES),
            timeout=seconds(inner, "timeout", limit, least=0.001),
            interval=seconds(inner, "interval", 5.0, least=0.01),
            url=text(inner, "url", r"https?://.+", "it must be the address of a Prometheus server"),
            query=text(inner, "query"),
            operator=choice(inner, "operator", OPERATORS),
            threshold=decimal(inner, "threshold") or 0.0,
            command=command(inner),
        )
        inner.close()
        if kind == "prometheus" and not (gate.url and gate.query):
            item.complain("is a gate of Prometheus without url and query; give both")
        if kind == "command" and not gate.command:
            item.complain('is a gate without its command; give one, such as ["./check.sh"]')
        if any(other.name == name for other in found):
            item.complain(f"has the name {name}, as another gate has; give it another")
        found.append(gate)
    return tuple(found)
