# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is different between two versions of an image. Pure, but for what reads their contents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..oci.tree import TreeEntry
from ..trust.packages import compare_versions

_HEAD = re.compile(r"^(\S+) \(([^)]+)\) [^;]*;.*$")
_BULLET = re.compile(r"^  \* (.*)$")
_MOST_HEADLINES = 20


@dataclass(frozen=True, slots=True)
class LayerSize:
    """A layer of an image by its step, with the bytes of its tar; empty digest when it has none."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What a version consists of, as far as a comparison goes.

    :param packages: versions by ``NAME:ARCHITECTURE``.
    :param config: the configuration's settings, flat: ``Env.PATH`` and its like.
    :param checks: what was found out about the version, flat: ``hardening.score`` and its like.
    """

    packages: Mapping[str, str]
    files: Mapping[str, TreeEntry]
    layers: Sequence[LayerSize]
    config: Mapping[str, str]
    checks: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Changed:
    """Something that two versions have otherwise; None is absent.

    :param how: added, removed, upgraded, downgraded or changed.
    :param headlines: of a package, what its changelog says of the versions between.
    """

    name: str
    how: str
    before: str | None
    after: str | None
    headlines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """All in which one version differs from another."""

    packages: tuple[Changed, ...]
    files: tuple[Changed, ...]
    layers: tuple[Changed, ...]
    config: tuple[Changed, ...]
    checks: tuple[Changed, ...]

    def as_json(self) -> dict[str, list[dict[str, Any]]]:
        """The difference as JSON-able values."""
        return {
            part: [{**asdict(one), "headlines": list(one.headlines)} for one in getattr(self, part)]
            for part in ("packages", "files", "layers", "config", "checks")
        }


def compare(old: Contents, new: Contents) -> Difference:
    """Return in what *new* differs from *old*."""
    return Difference(
        tuple(_package(one) for one in _changed(old.packages, new.packages)),
        tuple(_changed(_described(old.files), _described(new.files))),
        tuple(_changed(_sizes(old.layers), _sizes(new.layers))),
        tuple(_changed(old.config, new.config)),
        tuple(_changed(old.checks, new.checks)),
    )


def _changed(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Changed]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before != after:
            how = "added" if before is None else "removed" if after is None else "changed"
            yield Changed(name, how, before, after)


def _package(one: Changed) -> Changed:
    if one.before is None or one.after is None:
        return one
    newer = compare_versions(one.before, one.after) < 0
    return replace(one, how="upgraded" if newer else "downgraded")


def _described(files: Mapping[str, TreeEntry]) -> dict[str, str]:
    """Return each file as a line in which whatever an administrator would call a change shows.

    Times are left out: they follow from what an image was made from.
    """
    found = {}
    for path, one in files.items():
        words = [str(one.type), f"{one.mode & 0o7777:04o}", f"{one.uid}:{one.gid}"]
        if one.digest is not None:
            words += [f"{one.size} bytes", one.digest[7:19]]
        if one.link and one.digest is None:
            words.append(f"-> {one.link}")
        words += [f"{name}={value!r}" for name, value in one.xattrs]
        found["/" + path] = " ".join(words)
    return found


def _sizes(layers: Iterable[LayerSize]) -> dict[str, str]:
    found: dict[str, str] = {}
    for layer in layers:
        name, count = layer.name, 2
        while name in found:
            name, count = f"{layer.name} ({count})", count + 1
        found[name] = f"{layer.size} bytes {layer.digest[7:19]}".rstrip()
    return found


def flat(value: object, prefix: str = "") -> dict[str, str]:
    """Return a JSON value as texts by their path; lists of texts are one text."""
    if isinstance(value, Mapping):
        found: dict[str, str] = {}
        for key, inner in value.items():
            found |= flat(inner, f"{prefix}.{key}" if prefix else str(key))
        return found or ({prefix: ""} if prefix else {})
    if isinstance(value, list):
        return {prefix: ", ".join(map(str, value))}
    return {prefix: str(value)}


def config_settings(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of an OCI configuration, each variable of Env by its name."""
    config = dict(document.get("config") or {})
    env = dict(text.partition("=")[::2] for text in config.pop("Env", None) or [])
    platform = {key: document[key] for key in ("architecture", "os") if key in document}
    return flat({**platform, **config, "Env": env})


def headlines(changelog: str, old: str, new: str) -> tuple[str, ...]:
    """Return what a Debian changelog says of the versions after *old* up to *new*.

    The first words of each point, the newest first (Debian policy 4.4).
    """
    found: list[str] = []
    wanted = False
    version = ""
    for line in changelog.splitlines():
        head = _HEAD.match(line)
        if head is not None:
            version = head[2]
            if compare_versions(version, old) <= 0:
                break
            wanted = compare_versions(version, new) <= 0
        point = _BULLET.match(line)
        if wanted and point is not None:
            found.append(f"{version}: {point[1].strip()}")
            if len(found) == _MOST_HEADLINES:
                break
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Shown:
    """How much of a difference a person is shown.

    :param files: lines about files.
    """

    files: int = 40
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


def render_difference(title: str, found: Difference, shown: Shown | None = None) -> list[str]:
    """Return *found* as lines that a person reads."""
    limits = shown or Shown()
    lines = [title]
    for part, changes in (
        ("packages", found.packages),
        ("layers", found.layers),
        ("configuration", found.config),
        ("checks", found.checks),
        ("files", found.files),
    ):
        lines += ["", f"{part}: {_counts(changes)}"]
        listed = changes[: limits.files] if part == "files" else changes
        for one in listed:
            lines.append(f"  {_line(one)}")
            lines += [f"      {text}" for text in one.headlines]
        if len(changes) > len(listed):
            lines.append(f"  and {len(changes) - len(listed)} more")
    return lines


def _counts(changes: Sequence[Changed]) -> str:
    counts: dict[str, int] = {}
    for one in changes:
        counts[one.how] = counts.get(one.how, 0) + 1
    return ", ".join(f"{count} {how}" for how, count in counts.items()) or "no difference"


def _line(one: Changed) -> str:
    if one.before is None:
        return f"+ {one.name} {one.after}".rstrip()
    if one.after is None:
        return f"- {one.name} {one.before}".rstrip()
    return f"~ {one.name} {one.before or '(empty)'} -> {one.after or '(empty)'}"
