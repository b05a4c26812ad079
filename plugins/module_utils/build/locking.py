# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One image's lock on its way through a bake: read, obeyed, or made anew."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import DriverError
from ..core.files import write_whole
from .base import base_key
from .definition_model import Archive, Debootstrap, Definition, Registry
from .lock import Installed, Lock, LockedBase, Package, changes
from .lock_file import read_lock, render_lock
from .lock_state import (
    LockDigests,
    LockMode,
    base_lock_key,
    digests_json,
    layers_lock_key,
    lock_path,
    shown_lock_path,
)
from .package_archive import Signer
from .records import BaseRecord
from .session import Session
from .supply import (
    APT_CONF,
    Supply,
    bring_repository,
    check,
    forget_unpacked,
    known_packages,
    pinned_toolkit,
    security_sources,
    take_archives,
    toolkit_packages,
    unpacked,
)
from .toolkit import PACKAGES, Pinned

__all__ = [
    "APT_CONF",
    "Locking",
    "base_supply",
    "prepare_packages",
    "settle_packages",
    "toolkit_of",
    "with_lock_hint",
    "write_lock",
]

if TYPE_CHECKING:
    from .workshop import Workshop


@dataclass(frozen=True, slots=True)
class Locking:
    """What a bake has to do with an image's lock.

    :param before: the lock that is there, None when there is none or its content is of no matter.
    """

    mode: LockMode
    digests: LockDigests | None
    before: Lock | None

    @classmethod
    def of(cls, state: Mapping[str, Any], definition: Definition) -> Locking:
        """Return what the plan decided for an image; DriverError if its lock was changed."""
        mode = LockMode(state["lock_mode"])
        if mode is LockMode.NONE:
            return cls(mode, None, None)
        before: Lock | None = None
        try:
            before = read_lock(definition)
        except DriverError:
            # A lock that cannot be read any more is a reason to make a new one.
            if mode.reads_lock:
                raise
        if not mode.reads_lock:
            return cls(mode, None, before)
        if before is None or digests_json(before.digests) != state["lock"]:
            raise DriverError(
                f"{shown_lock_path(definition)} was changed while the image was baked.",
                hint="Run the bake again.",
            )
        return cls(mode, before.digests, before)

    @property
    def lock(self) -> Lock | None:
        """The lock that packages come from, None when they come from the archive."""
        return self.before if self.mode.reads_lock else None

    @property
    def base_key(self) -> str | None:
        """What the base's key has of it."""
        return base_lock_key(self.mode, self.digests)

    @property
    def layers_key(self) -> str | None:
        """What the layers' keys have of it."""
        return layers_lock_key(self.mode, self.digests)


def base_supply(
    shop: Workshop, definition: Definition, architecture: str, locking: Locking
) -> Supply | None:
    """Return where the packages of a bootstrap come from; None leaves it to the mirror.

    Raises DriverError when the lock is for another base than the definition has now.
    """
    base = definition.base
    lock = locking.lock
    if lock is not None:
        _check_base(definition, lock, architecture)
    if locking.mode is LockMode.NONE or not isinstance(base, Debootstrap):
        return None
    gathers = None
    if locking.mode.makes_lock:
        gathers = _gathered(shop, base_key(base, architecture, locking.base_key))
    return Supply(shop.pool, Signer(shop.home), lock, gathers)


def _gathered(shop: Workshop, key: str) -> Path:
    """Where the making of a base leaves what it installed."""
    return shop.home.cache / "base-packages" / (key.removeprefix("sha256:") + ".json")


def _check_base(definition: Definition, lock: Lock, architecture: str) -> None:
    base, where = definition.base, shown_lock_path(definition)
    refresh = "Refresh the lock (kiln.immutable.refresh)."
    if lock.architecture != architecture:
        raise DriverError(
            f"{where} is for {lock.architecture}, and the engine is {architecture}.",
            hint="Bake on an engine of that architecture, or refresh the lock on this one.",
        )
    if lock.base.kind != base.kind:
        raise DriverError(
            f"{where} is for a base of kind {lock.base.kind}, the definition has {base.kind}.",
            hint=refresh,
        )
    if isinstance(base, (Registry, Archive)) and lock.base.digest != base.digest:
        raise DriverError(
            f"{where} is for the base {lock.base.digest}, the definition has {base.digest}.",
            hint=refresh,
        )
    if isinstance(base, Debootstrap) and lock.suite != base.suite:
        raise DriverError(
            f"{where} is for {lock.suite}, the definition has {base.suite}.", hint=refresh
        )


def prepare_packages(
    shop: Workshop, container: str, definition: Definition, locking: Locking
) -> dict[str, Any]:
    """Make a build container ready for what *locking* asks; return what the session is to keep."""
    forget_unpacked(shop.engine, container)
    lock = locking.lock
    toolkit = lock.toolkit if lock is not None else ()
    if locking.mode.makes_lock and not toolkit:
        toolkit = toolkit_packages(shop.engine, container)
        take_archives(
            shop.engine,
            container,
            toolkit,
            pool=shop.pool,
            mirror=_mirror(definition),
            folder=PACKAGES,
        )
    kept = {"toolkit": [package.as_json() for package in toolkit]}
    if lock is None:
        return {"security": list(security_sources(shop.engine, container)), **kept}
    bring_repository(
        shop.engine,
        container,
        lock,
        pool=shop.pool,
        home=shop.home,
        mirror=_mirror(definition),
        security=locking.mode is LockMode.SECURITY,
    )
    return {"security": list(lock.security), **kept}


def toolkit_of(shop: Workshop, definition: Definition, locking: Locking) -> Pinned | None:
    """Return what the lock says that the toolkit is to be made of; None leaves it open."""
    if locking.lock is None:
        return None
    return pinned_toolkit(locking.lock, pool=shop.pool, home=shop.home, mirror=_mirror(definition))


def _mirror(definition: Definition) -> str | None:
    return definition.base.mirror if isinstance(definition.base, Debootstrap) else None


def settle_packages(
    shop: Workshop, session: Session, definition: Definition, state: Mapping[str, Any], layer: str
) -> dict[str, Any]:
    """Check what the role of *layer* installed against the lock, or note it for a new one.

    Returns the packages of the layers so far, for the session.
    """
    locking = Locking.of(state, definition)
    container = session.container_name(definition.name)
    found = unpacked(shop.engine, container)
    if locking.mode is LockMode.USE and locking.lock is not None:
        check(
            f"the layer {layer}",
            locking.lock.layers.get(layer, ()),
            [Installed(one["name"], one["version"], one["architecture"]) for one in found],
        )
        return {}
    packages = known_packages(found, locking.lock)
    take_archives(shop.engine, container, packages, pool=shop.pool, mirror=_mirror(definition))
    # The choice of the base's packages follows priorities; that of layers is the roles'.
    plain = [{k: v for k, v in p.as_json().items() if k != "priority"} for p in packages]
    return {**(state.get("packages") or {}), **({layer: plain} if plain else {})}


def write_lock(
    shop: Workshop,
    definition: Definition,
    base: BaseRecord,
    state: Mapping[str, Any],
    locking: Locking,
) -> dict[str, Any]:
    """Write the lock that a finished bake amounts to; return a summary with what changed."""
    lock = _assemble(shop, definition, base, state)
    before = locking.before
    name = definition.name
    text = render_lock(name, lock)
    written = before is None or render_lock(name, before) != text
    if written:
        write_whole(lock_path(definition), text.encode())
    return {
        "name": name,
        "lock": shown_lock_path(definition),
        "written": written,
        "packages": len(lock.packages),
        "changes": [[one.name, one.old, one.new, one.suite] for one in changes(before, lock)],
    }


def _assemble(
    shop: Workshop,
    definition: Definition,
    base: BaseRecord,
    state: Mapping[str, Any],
) -> Lock:
    origin = definition.base
    match origin:
        case Debootstrap():
            path = _gathered(shop, base.key)
            gathered = json.loads(path.read_bytes())
            locked = LockedBase(
                origin.kind,
                epoch=base.epoch,
                sources=gathered["sources"],
                packages=tuple(Package.from_json(value) for value in gathered["packages"]),
            )
        case Registry() | Archive():
            locked = LockedBase(origin.kind, digest=origin.digest)
        case _:
            locked = LockedBase(origin.kind)
    layers = {
        name: tuple(Package.from_json(value) for value in packages)
        for name, packages in (state.get("packages") or {}).items()
    }
    return Lock(
        base.architecture,
        base.suite,
        locked,
        tuple(state.get("security", ())),
        layers,
        tuple(Package.from_json(value) for value in state.get("toolkit", ())),
    )


_NOT_IN_LOCK = re.compile(
    r"(?i)unable to locate package|no package matching|no installation candidate|unmet dependenc"
    r"|version '[^']*' for '[^']*' was not found|is invalid for APT::Default-Release"
)


def with_lock_hint(message: str, state: Mapping[str, Any]) -> str:
    """Add why apt does not find what the archive may well have."""
    if state.get("lock_mode") == LockMode.USE and _NOT_IN_LOCK.search(message):
        message += (
            "\nThe image is locked, and its lock does not name that package. Refresh the lock"
            " (kiln.immutable.refresh)."
        )
    return message
