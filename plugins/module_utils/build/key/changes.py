# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changed between two manifests, in words for people."""

from __future__ import annotations

from collections.abc import Mapping

from ...core import canonical

_SECRETS = ("hmac-sha256:",)
_LONG = 60


def explain(old: Mapping[str, object], new: Mapping[str, object]) -> tuple[str, ...]:
    """Return one sentence for each difference; secrets only ever say that they changed."""
    told: list[str] = []
    if old.get("role") != new.get("role"):
        told.append(f"role {old.get('role')} -> {new.get('role')}")
    if old.get("modes") != new.get("modes"):
        told.append(f"file modes that count: {old.get('modes')} -> {new.get('modes')}")
    told += _files("", old.get("files"), new.get("files"))
    before, after = _mapping(old.get("roles")), _mapping(new.get("roles"))
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            told.append(f"role {name} {'added' if name in after else 'removed'}")
        else:
            told += _files(f"role {name}: ", before[name], after[name])
    for section, word in (("variables", "variable"), ("environment", "environment variable")):
        told += _values(word, old.get(section), new.get(section))
    told += [
        f"order of the keys in variable {name} changed"
        for name in _both(old.get("order"), new.get("order"))
    ]
    told += _values("plugin", old.get("plugins"), new.get("plugins"))
    told += _files("outside ", old.get("outside"), new.get("outside"))
    before, after = _mapping(old.get("declared")), _mapping(new.get("declared"))
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            told.append(f"declared input {name} {'added' if name in after else 'removed'}")
        else:
            told += _files("declared ", before[name], after[name])
    return tuple(told)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _both(old: object, new: object) -> list[str]:
    before, after = _mapping(old), _mapping(new)
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _files(prefix: str, old: object, new: object) -> list[str]:
    before, after = _mapping(old), _mapping(new)
    told: list[str] = []
    for name in _both(old, new):
        if name not in before:
            told.append(f"{prefix}file {name} added")
        elif name not in after:
            told.append(f"{prefix}file {name} removed")
        else:
            told.append(f"{prefix}file {name} {_how(str(before[name]), str(after[name]))}")
    return told


def _how(old: str, new: str) -> str:
    if "absent" in (old, new):
        return "appeared" if old == "absent" else "went away"
    link, mode = old.rpartition(" ")[0], new.rpartition(" ")[0]
    if link == mode and link and not link.startswith("link -> "):
        return f"changed mode {old.rpartition(' ')[2]} -> {new.rpartition(' ')[2]}"
    return "changed"


def _values(word: str, old: object, new: object) -> list[str]:
    before, after = _mapping(old), _mapping(new)
    told: list[str] = []
    for name in _both(old, new):
        if name not in before:
            told.append(f"{word} {name} added")
        elif name not in after:
            told.append(f"{word} {name} removed")
        else:
            told.append(f"{word} {name} {_change(before[name], after[name])}")
    return told


def _change(old: object, new: object) -> str:
    one, two = (canonical.encode(value).decode("utf-8", "replace") for value in (old, new))
    if any(mark in text for text in (one, two) for mark in _SECRETS):
        return "changed"
    if isinstance(old, str) and isinstance(new, str):
        one, two = (
            value if value and value.isprintable() else text
            for value, text in ((old, one), (new, two))
        )
    return f"{one} -> {two}" if max(len(one), len(two)) <= _LONG else "changed"
