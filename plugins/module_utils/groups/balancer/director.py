# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances behind a balancer: who has which slot, and what an action means for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...core.errors import DriverError
from ..model import Action, Drain, Health, Instance, Send, Start, Stop, Traffic
from . import runtime
from .configuration import Balance, Slot
from .container import Balancer
from .runtime import SlotState

Place = tuple[str, tuple[int, ...]]
"""Where a balancer finds an instance: its address, and a port for each service."""


@dataclass(slots=True)
class Director:
    """What the actions on instances mean for a balancer.

    An instance is behind it, under its checks and without traffic, before it starts, and out of it
    before it stops.
    """

    balancer: Balancer

    def direct(self, actions: Sequence[Action], places: Mapping[str, Place]) -> None:
        """Tell the balancer its part of *actions*, in one go.

        :param places: of all instances that are there or about to start.
        """
        commands: list[str] = []
        for action in actions:
            if action.id in places:  # or it is gone
                commands += self._commands(action, places)
        if commands:
            self.balancer.write(commands)

    def settle(self, places: Mapping[str, Place]) -> None:
        """Give each of the instances that are there a slot, and free those of others."""
        here = set(places.values())
        commands: list[str] = []
        for slot in self.balancer.balance.slots:
            if slot.taken and _place(slot) not in here:
                commands += self._change(
                    replace(slot, traffic=Traffic.OUT), runtime.release(self.balancer.balance, slot)
                )
        for place in places.values():
            if self._slot(place) is None:
                commands += self._take(place, places)
        if commands:
            self.balancer.write(commands)

    def seen(
        self,
        instances: Iterable[Instance],
        places: Mapping[str, Place],
        states: Sequence[SlotState],
    ) -> Iterator[Instance]:
        """Yield *instances* with what the balancer says of them."""
        by_place = {_place(state.slot): state for state in states if state.slot.taken}
        for one in instances:
            state = by_place.get(places[one.id]) if one.id in places else None
            yield _unseen(one) if state is None else _seen(one, state)

    def _commands(self, action: Action, places: Mapping[str, Place]) -> list[str]:
        commands: list[str] = []
        slot = self._slot(places[action.id])
        if slot is None:
            if isinstance(action, Stop | Drain):
                return []
            commands += self._take(places[action.id], places)
            slot = self._slot(places[action.id])
        balance = self.balancer.balance
        if slot is None or isinstance(action, Start):
            return commands
        if isinstance(action, Send):
            slot = replace(slot, traffic=Traffic.READY, weight=action.weight)
            return commands + self._change(slot, runtime.send(balance, slot))
        if isinstance(action, Drain):
            slot = replace(slot, traffic=Traffic.DRAIN)
            return commands + self._change(slot, runtime.drain(balance, slot))
        slot = replace(slot, traffic=Traffic.OUT)
        return commands + self._change(slot, runtime.release(balance, slot))

    def _take(self, place: Place, places: Mapping[str, Place]) -> list[str]:
        """Return what gives *place* a slot that nobody has."""
        used = set(places.values())
        slots = self.balancer.balance.slots
        free = [slot for slot in slots if not slot.taken]
        # Of an instance that is gone, when whoever took it away could not say so.
        free += [slot for slot in slots if slot.taken and _place(slot) not in used]
        if not free:
            raise DriverError(f"The balancer {self.balancer.name} has no free slot.")
        slot = replace(free[0], address=place[0], ports=place[1], traffic=Traffic.DRAIN)
        return self._change(slot, runtime.take(self.balancer.balance, slot))

    def _slot(self, place: Place) -> Slot | None:
        slots = self.balancer.balance.slots
        return next((slot for slot in slots if slot.taken and _place(slot) == place), None)

    def _change(self, slot: Slot, commands: list[str]) -> list[str]:
        self.balancer.balance = _with_slot(self.balancer.balance, slot)
        return commands


def _place(slot: Slot) -> Place:
    return slot.address, slot.ports


def _with_slot(balance: Balance, slot: Slot) -> Balance:
    changed = tuple(slot if one.name == slot.name else one for one in balance.slots)
    return replace(balance, slots=changed)


def _unseen(instance: Instance) -> Instance:
    """Return an instance that the balancer does not check: it cannot be said to pass."""
    passing = instance.health is Health.PASSING
    return replace(instance, health=Health.UNKNOWN if passing else instance.health)


def _seen(instance: Instance, state: SlotState) -> Instance:
    """Return an instance as healthy as both its engine and the balancer say."""
    health = instance.health if instance.health is not Health.PASSING else state.health
    traffic = state.slot.traffic
    if traffic is Traffic.DRAIN and state.connections == 0:
        traffic = Traffic.OUT
    return replace(
        instance,
        health=health,
        traffic=traffic,
        weight=state.slot.weight,
        connections=state.connections,
        detail=instance.detail or ("" if health is Health.PASSING else state.detail),
    )
