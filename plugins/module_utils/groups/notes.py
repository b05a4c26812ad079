# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backend remembers of a group: what it runs, what it ran, how far a rotation has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..core.errors import DriverError
from .backend import Backend
from .model import Release

STATE, PROGRESS, SIGNALS = "state", "progress", "signals"
REMEMBERED = 20
"""So many generations are remembered besides the current one."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A release that a group ran, and the definition that it was run with.

    :param at: Unix time at which the rotation to it had succeeded.
    """

    release: Release
    settings: str
    document: Mapping[str, Any] = field(default_factory=dict, hash=False)
    at: float = 0.0
    by: str = ""


@dataclass(frozen=True, slots=True)
class GroupState:
    """The generations of a group: the one that it runs, and those before, the last first."""

    current: Generation | None = None
    previous: tuple[Generation, ...] = ()

    def advanced(self, to: Generation) -> GroupState:
        """Return the state after a rotation to *to*; the same release again takes its place."""
        now = self.current
        if now is None or (now.release.digest, now.settings) == (to.release.digest, to.settings):
            return replace(self, current=to)
        return GroupState(to, (now, *self.previous)[:REMEMBERED])

    def find(self, version: str) -> Generation | None:
        """Return the last generation of *version* that is not the current one, None if none."""
        for one in self.previous:
            if version in {one.release.version, one.release.digest}:
                return one
        return None


@dataclass(frozen=True, slots=True)
class Progress:
    """A rotation that has begun and not ended.

    :param rotation: its name; approvals and aborts are for one rotation.
    :param stage: how many stages are complete.
    :param hooks: the names of hooks that are done.
    :param contract: the contract hook that was begun; nothing goes back behind it by itself.
    :param waits_for: the approval that it waits for.
    :param back: why it is on the way back; empty on the way forward.
    :param paused: why it was left as it is.
    """

    rotation: str
    digest: str
    settings: str
    version: str = ""
    began: float = 0.0
    holder: str = ""
    stage: int = 0
    hooks: tuple[str, ...] = ()
    contract: str = ""
    waits_for: str = ""
    back: str = ""
    paused: str = ""


def read_state(backend: Backend) -> GroupState:
    """Return what *backend* remembers of the group."""
    note = backend.read_note(STATE)
    current = note.get("current")
    return GroupState(
        _generation(current) if current else None,
        tuple(_generation(one) for one in note.get("previous") or ()),
    )


def write_state(backend: Backend, state: GroupState) -> None:
    """Have *backend* remember *state*."""
    current = None if state.current is None else asdict(state.current)
    previous = [asdict(one) for one in state.previous]
    backend.write_note(STATE, {"current": current, "previous": previous})


def read_progress(backend: Backend) -> Progress | None:
    """Return the rotation that has begun and not ended, None when there is none."""
    note = dict(backend.read_note(PROGRESS))
    if not note:
        return None
    note["hooks"] = tuple(note.get("hooks") or ())
    return Progress(**note)


def write_progress(backend: Backend, progress: Progress | None) -> None:
    """Have *backend* remember how far a rotation has come, or that there is none."""
    backend.write_note(PROGRESS, {} if progress is None else asdict(progress))


@dataclass(frozen=True, slots=True)
class Signals:
    """What people tell a rotation from another terminal.

    :param abort: who wants it to end, and why; empty when nobody does.
    :param approved: what was approved, and by whom.
    """

    abort: str = ""
    approved: Mapping[str, str] = field(default_factory=dict, hash=False)


def read_signals(backend: Backend, rotation: str) -> Signals:
    """Return what was told to *rotation*; what another one was told does not count."""
    note = backend.read_note(SIGNALS)
    if note.get("rotation") != rotation:
        return Signals()
    return Signals(str(note.get("abort") or ""), dict(note.get("approved") or {}))


def write_signals(backend: Backend, rotation: str, signals: Signals) -> None:
    """Tell *rotation* something."""
    backend.write_note(SIGNALS, {"rotation": rotation, **asdict(signals)})


def approve(backend: Backend, name: str, by: str) -> str:
    """Approve *name* for the rotation that goes on; return the rotation's name.

    :param name: what it waits for, or is going to; empty is what it waits for now.
    """
    progress = _going_on(backend)
    asked = name or progress.waits_for
    if not asked:
        raise DriverError(f"The rotation to {progress.version} waits for no approval.")
    signals = read_signals(backend, progress.rotation)
    approved = {**signals.approved, asked: by}
    write_signals(backend, progress.rotation, replace(signals, approved=approved))
    return progress.rotation


def abort(backend: Backend, reason: str, by: str) -> str:
    """Tell the rotation that goes on to end; return its name."""
    progress = _going_on(backend)
    signals = read_signals(backend, progress.rotation)
    write_signals(backend, progress.rotation, replace(signals, abort=f"{reason} ({by})"))
    return progress.rotation


def _going_on(backend: Backend) -> Progress:
    progress = read_progress(backend)
    if progress is None:
        raise DriverError("No rotation of the group goes on.")
    return progress


def _generation(note: Mapping[str, Any]) -> Generation:
    return Generation(
        release=Release(**note["release"]),
        settings=str(note["settings"]),
        document=note.get("document") or {},
        at=float(note.get("at") or 0.0),
        by=str(note.get("by") or ""),
    )
