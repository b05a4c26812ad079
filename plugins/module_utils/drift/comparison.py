# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In what an instance differs from the version that it should be. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .engine_made import INIT, engine_files, given_devices, is_engine_mount
from .exported import as_exported
from .findings import Finding, Kind
from .instance import Instance, Observed, Process
from .manifest import Entry, Manifest
from .settings import compare_settings, observed_settings

# The root, and what every container has in memory.
_READ_MOUNTS = ("", "dev", "dev/shm")


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an instance should be.

    :param version: ``NAME NUMBER``.
    :param images: digests of which each names the version's image.
    :param state: paths, relative to the root, that are declared to be written to.
    :param settings: by name, as observed_settings has them.
    :param whole_environment: no variable may be there that is not expected.
    :param commands: what may be started in the instance from outside, such as health checks.
    """

    version: str
    manifest: Manifest
    images: frozenset[str]
    state: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    whole_environment: bool = False
    commands: tuple[tuple[str, ...], ...] = ()


def compare(expected: Expectation, instance: Instance, observed: Observed) -> list[Finding]:
    """Return every difference between *expected* and what was *observed* of *instance*."""
    found: list[Finding] = []
    if instance.image not in expected.images:
        detail = f"it runs {instance.image}, which is not {expected.version}"
        found.append(Finding(Kind.IMAGE, instance.name, "changed", detail))
    settings = observed_settings(instance.document)
    found += compare_settings(
        expected.settings, settings, whole_environment=expected.whole_environment
    )
    found += _compare_mounts(expected, instance, observed)
    left_out = expected.state | given_devices(instance)
    wanted = expected.manifest.entries
    if observed.processes is None:
        wanted = as_exported(wanted)
    found += compare_files(wanted, observed, left_out)
    found += _compare_packages(expected.manifest.packages, observed.packages)
    allowed = (*expected.commands, *_health_command(settings))
    for process in observed.processes or ():
        found += _judge_process(process, wanted, observed, allowed)
    return list(dict.fromkeys(found))


def compare_files(
    wanted: Mapping[str, Entry],
    observed: Observed,
    left_out: frozenset[str],
) -> Iterator[Finding]:
    """Yield the files that are other than *wanted*, apart from what is mounted and *left_out*."""
    hidden = left_out | {path for path in observed.mounts if path not in _READ_MOUNTS}
    everything = {**engine_files(observed.mounts, wanted), **wanted}
    seen = observed.entries
    for path in sorted({*everything, *seen, *observed.unreadable}):
        if is_below(path, hidden):
            continue
        before, after = everything.get(path), seen.get(path)
        if path in observed.unreadable:
            detail = f"it could not be read: {observed.unreadable[path]}"
            yield Finding(Kind.FILE, f"/{path}", "changed", detail)
        elif after is None:
            # What the engine makes in some containers need not be in this one.
            if before is not None and path in wanted:
                yield Finding(Kind.FILE, f"/{path}", "removed")
        elif before is None:
            yield Finding(Kind.FILE, f"/{path}", "added", _described(after))
        elif differences := list(_differences(before, after)):
            yield Finding(Kind.FILE, f"/{path}", "changed", ", ".join(differences))


def is_below(path: str, tops: frozenset[str]) -> bool:
    """Say whether *path* is one of *tops* or below one."""
    while path:
        if path in tops:
            return True
        path = path.rpartition("/")[0]
    return False


def _differences(before: Entry, after: Entry) -> Iterator[str]:
    if before.type != after.type:
        yield f"{before.type} -> {after.type}"
        return
    if before.digest != after.digest:
        yield "content"
    if before.mode != after.mode:
        yield f"mode {before.mode:04o} -> {after.mode:04o}"
    if (before.uid, before.gid) != (after.uid, after.gid):
        yield f"owner {before.uid}:{before.gid} -> {after.uid}:{after.gid}"
    if before.link != after.link:
        yield f"target {before.link} -> {after.link}"
    if before.device != after.device:
        yield f"device {_numbers(before)} -> {_numbers(after)}"
    old, new = dict(before.xattrs), dict(after.xattrs)
    for name in sorted({*old, *new}):
        if name not in new:
            yield f"{name} removed"
        elif name not in old:
            yield f"{name} added"
        elif old[name] != new[name]:
            yield f"{name} changed"


def _described(entry: Entry) -> str:
    text = f"{entry.type} {entry.mode:04o} {entry.uid}:{entry.gid}"
    if entry.type == "symlink":
        return f"{entry.type} to {entry.link}"
    if entry.type in ("char", "block"):
        text += f" {_numbers(entry)}"
    return f"{text}, {', '.join(name for name, _value in entry.xattrs)}" if entry.xattrs else text


def _numbers(entry: Entry) -> str:
    return f"{entry.device[0]}:{entry.device[1]}"


def _compare_mounts(
    expected: Expectation, instance: Instance, observed: Observed
) -> Iterator[Finding]:
    for path in sorted(observed.mounts):
        mount = observed.mounts[path]
        if not path:
            writable = "rw" in mount.options
            if writable and instance.host_config.get("ReadonlyRootfs"):
                detail = "it was made read-only and is writable now"
                yield Finding(Kind.MOUNT, "/", "changed", detail)
        elif not is_below(path, expected.state) and not is_engine_mount(mount, instance):
            detail = f"{mount.type}, {','.join(mount.options)}"
            yield Finding(Kind.MOUNT, f"/{path}", "added", detail)


def _compare_packages(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Finding]:
    for name in sorted({*before, *after}):
        if name not in after:
            yield Finding(Kind.PACKAGE, name, "removed", before[name])
        elif name not in before:
            yield Finding(Kind.PACKAGE, name, "added", after[name])
        elif before[name] != after[name]:
            yield Finding(Kind.PACKAGE, name, "changed", f"{before[name]} -> {after[name]}")


def _judge_process(
    process: Process,
    wanted: Mapping[str, Entry],
    observed: Observed,
    allowed: Sequence[tuple[str, ...]],
) -> Iterator[Finding]:
    said = f"pid {process.pid}, user {process.uid}: {' '.join(process.argv)[:120]}"
    engines_own = process.exe[1:] in INIT and process.exe[1:] in observed.mounts
    program = wanted.get(process.exe.lstrip("/"))
    if process.deleted:
        yield Finding(Kind.PROCESS, process.exe, "deleted", said)
    elif engines_own:
        pass
    elif program is None or program.digest is None:
        yield Finding(Kind.PROCESS, process.exe, "foreign", said)
    if program is not None and program.digest != process.digest and not engines_own:
        yield Finding(Kind.PROCESS, process.exe, "replaced", said)
    for path in process.mapped:
        name = path.removesuffix(" (deleted)")
        if name != path:
            yield Finding(Kind.PROCESS, name, "deleted", f"mapped by {said}")
        elif name.lstrip("/") not in wanted:
            yield Finding(Kind.PROCESS, name, "foreign", f"mapped by {said}")
    # The kernel puts the interpreter of a script in front.
    if process.entered and process.argv not in allowed and process.argv[1:] not in allowed:
        yield Finding(Kind.PROCESS, process.exe, "entered", said)


def _health_command(settings: Mapping[str, Any]) -> list[tuple[str, ...]]:
    kind, *words = settings["healthcheck"] or ["NONE"]
    if kind == "CMD":
        return [tuple(words)]
    return [("/bin/sh", "-c", *words)] if kind == "CMD-SHELL" else []
