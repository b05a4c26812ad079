# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of layers, one from the other, and what of a bake the cache has already. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.canonical import digest
from ..oci.layer import CAPTURE_SOURCE
from .records import BaseRecord, LayerRecord
from .residue import INVISIBLE

FORMAT = 1
"""Counts up when the sealing changes what the same inputs give."""

_CAPTURE = digest([CAPTURE_SOURCE, list(INVISIBLE)])
"""Another capture program, or other things that it does not see, may give other layers."""


@dataclass(frozen=True, slots=True)
class LayerStep:
    """A layer as a bake meets it.

    :param manifest: readable; the key is its digest together with the parent's key.
    :param uncacheable: why the layer must run each time, a sentence each; empty when it need not.
    :param facts: names that the role gives values to, by set_fact or register.
    """

    name: str
    role: str
    manifest: Mapping[str, Any]
    uncacheable: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The step as JSON-able values."""
        return {
            "name": self.name,
            "role": self.role,
            "manifest": self.manifest,
            "uncacheable": list(self.uncacheable),
            "facts": list(self.facts),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LayerStep:
        """The inverse of as_json."""
        return cls(
            value["name"],
            value["role"],
            value["manifest"],
            tuple(value["uncacheable"]),
            tuple(value["facts"]),
        )


@dataclass(frozen=True, slots=True)
class Link:
    """A step with its key, and the record when the cache has it and all before it."""

    step: LayerStep
    key: str
    record: LayerRecord | None


@dataclass(frozen=True, slots=True)
class Chain:
    """An image's base and its layers with their keys, as far as the cache has them."""

    base: BaseRecord
    key: str
    links: tuple[Link, ...]

    @property
    def restored(self) -> tuple[LayerRecord, ...]:
        """The layers that need not run."""
        return tuple(one.record for one in self.links if one.record is not None)

    @property
    def pending(self) -> tuple[Link, ...]:
        """The layers that must run."""
        return tuple(one for one in self.links if one.record is None)

    @property
    def last_key(self) -> str:
        """The key that stands for the whole root filesystem."""
        return self.links[-1].key if self.links else self.key


def base_chain_key(base: BaseRecord, lock: str | None = None) -> str:
    """Return the key that the first layer's key builds on: the base's content, not its name.

    The epoch is in it, because the times in layers and configuration are made from it.

    :param lock: digest of the packages that the layers may install; None when any may be.
    """
    layers = [layer.diff_id for layer in base.layers]
    pinned = {} if lock is None else {"lock": lock}
    return digest({"capture": _CAPTURE, "base": layers, "epoch": base.epoch, **pinned})


def link(
    parent_key: str,
    steps: Sequence[LayerStep],
    lookup: Callable[[str], LayerRecord | None],
    *,
    fresh: bool = False,
) -> tuple[Link, ...]:
    """Return the steps with their keys, and what the cache has of them from the first one on.

    A step that cannot be cached gets a key that never comes again, and so do all after it.

    :param fresh: take nothing from the cache.
    """
    links: list[Link] = []
    restoring = not fresh
    for step in steps:
        if step.uncacheable:
            key = digest({"parent": parent_key, "never_again": uuid.uuid4().hex})
        else:
            key = digest({"parent": parent_key, "layer": step.name, "inputs": step.manifest})
        record = lookup(key) if restoring else None
        restoring = record is not None
        links.append(Link(step, key, record))
        parent_key = key
    return tuple(links)


def chain_of(
    base: BaseRecord,
    steps: Sequence[LayerStep],
    lookup: Callable[[str], LayerRecord | None],
    *,
    fresh: bool,
    lock: str | None = None,
) -> Chain:
    """Return the chain of an image on *base*.

    *lookup* and *fresh* are those of ``link``, *lock* is that of ``base_chain_key``.
    """
    key = base_chain_key(base, lock)
    return Chain(base, key, link(key, steps, lookup, fresh=fresh))


def as_parent(chain: Chain) -> BaseRecord | None:
    """Return a whole image as the base of another one, None while layers of it are missing."""
    if chain.pending:
        return None
    layers = [*chain.base.layers, *(r.layer for r in chain.restored if r.layer is not None)]
    return BaseRecord(
        key=chain.last_key,
        layers=tuple(layers),
        epoch=chain.base.epoch,
        suite=chain.base.suite,
        architecture=chain.base.architecture,
        seconds=0.0,
    )


def bake_key(chain_key: str, config: object) -> str:
    """Return the key of a whole image: its last layer's key and its configuration."""
    return digest({"format": FORMAT, "layers": chain_key, "config": config})
