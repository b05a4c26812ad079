# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What in a finished root an attacker would look for: found in the tree alone. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..oci.listing import EntryType
from ..oci.predicates import EXPOSURE, SECRETS
from ..oci.statement import Statement
from ..oci.tree import TreeEntry
from .examination import Root
from .secrets import FORM, AllowedSecret, SecretFound

_SPECIAL_BITS = 0o6000
_STICKY = 0o1000
_WORLD_WRITABLE = 0o002
_UNIT = r"(?:usr/lib|lib|etc)/systemd/system/([^/]+\.(?:service|socket))"
_LISTEN = re.compile(r"^Listen(?:Stream|Datagram|SequentialPacket)\s*=\s*(\S+)\s*$", re.MULTILINE)
_WANTS = re.compile(r"(?:etc|usr/lib|lib)/systemd/system/[^/]+\.(?:wants|requires)/([^/]+)")
# Where programs and what they load are: what no package owns there was put there by a role.
_OWNED = re.compile(
    r"(?:usr/)?(?:s?bin|lib(?:32|64|x32)?|libexec|games)/|etc/(?:init\.d|cron\.[^/]+)/"
)
_MADE_LATER = re.compile(r".*\.pyc|.*/ld\.so\.cache|.*/alternatives/.*")


def secrets_statement(root: Root, allowed: Sequence[AllowedSecret] = ()) -> Statement:
    """Return which secrets are in files of *root*, without the secrets, and which may be there."""
    found: list[dict[str, Any]] = []
    excused: list[dict[str, Any]] = []
    for index, layer in enumerate(root.layers):
        for one in layer.secrets:
            entry = root.tree.entries.get(one.path)
            if entry is None or entry.layer != index:
                continue
            by = next((rule for rule in allowed if rule.covers(one)), None)
            told = {"path": f"/{one.path}", "rule": one.rule, "line": one.line, "layer": index}
            if by is None:
                found.append(told)
            else:
                excused.append({**told, "reason": by.reason})
    return Statement(
        SECRETS, {"rules": FORM, "found": len(found), "findings": found, "allowed": excused}
    )


def unused_allowances(root: Root, allowed: Iterable[AllowedSecret]) -> list[AllowedSecret]:
    """Return those of *allowed* that cover nothing: they would hide what comes later."""
    found: list[SecretFound] = [one for layer in root.layers for one in layer.secrets]
    return [rule for rule in allowed if not any(rule.covers(one) for one in found)]


def exposure_statement(root: Root, ports: Sequence[str] = ()) -> Statement:
    """Return what *root* offers to an attacker, each thing with the package that it is of.

    :param ports: those that the image's configuration exposes.
    """
    users, groups = _ids(root.text("etc/passwd")), _ids(root.text("etc/group"))
    found: dict[str, list[dict[str, Any]]] = {
        "setuid": [],
        "world_writable": [],
        "unowned": [],
        "unpackaged": [],
        "listening": _listening(root, ports),
    }
    known = bool(root.owners)
    for path, entry in sorted(root.tree.entries.items()):
        if entry.type is EntryType.SYMLINK:
            continue
        told = _told(root, path, entry)
        if entry.type is EntryType.FILE and entry.mode & _SPECIAL_BITS:
            found["setuid"].append(told)
        if _is_open_to_all(entry):
            found["world_writable"].append(told)
        if (users and entry.uid not in users) or (groups and entry.gid not in groups):
            found["unowned"].append({**told, "owner": f"{entry.uid}:{entry.gid}"})
        if (
            known
            and entry.type is EntryType.FILE
            and "package" not in told
            and _OWNED.match(path)
            and not _MADE_LATER.fullmatch(path)
        ):
            found["unpackaged"].append(told)
    counts = {name: len(listed) for name, listed in found.items()}
    return Statement(EXPOSURE, {**found, "counts": counts})


def _told(root: Root, path: str, entry: TreeEntry) -> dict[str, Any]:
    told: dict[str, Any] = {"path": f"/{path}", "mode": f"{entry.mode:04o}", "layer": entry.layer}
    package = root.owners.get(path)
    return {**told, "package": package} if package else told


def _is_open_to_all(entry: TreeEntry) -> bool:
    if not entry.mode & _WORLD_WRITABLE:
        return False
    if entry.type in (EntryType.CHAR_DEVICE, EntryType.BLOCK_DEVICE, EntryType.FIFO):
        return not entry.path.startswith("dev/")
    return not (entry.type is EntryType.DIRECTORY and entry.mode & _STICKY)


def _ids(text: str) -> set[int]:
    found = set()
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit():
            found.add(int(fields[2]))
    return found


def _listening(root: Root, ports: Sequence[str]) -> list[dict[str, Any]]:
    """The exposed ports, and the units that are started by themselves, with what they listen to."""
    found: list[dict[str, Any]] = [{"kind": "exposed", "port": port} for port in ports]
    enabled = {
        match[1]
        for path, entry in root.tree.entries.items()
        if entry.type is EntryType.SYMLINK
        and entry.link != "/dev/null"
        and (match := _WANTS.fullmatch(path))
    }
    units: dict[str, str] = {}
    for path, text in sorted(root.texts(_UNIT).items(), reverse=True):
        # What is in /etc counts before what packages have.
        name = posixpath.basename(path)
        if not path.startswith("etc/") and name in units:
            continue
        units[name] = text
    for name in sorted(enabled & units.keys()):
        if root.tree.entries.get(f"etc/systemd/system/{name}", _NOTHING).link == "/dev/null":
            continue
        listens = _LISTEN.findall(units[name] + _drop_ins(root, name))
        outside = [one for one in listens if not one.startswith(("/", "@"))]
        if name.endswith(".service"):
            found.append({"kind": "service", "unit": name})
        elif outside:
            found.append({"kind": "socket", "unit": name, "listens": outside})
    return found


def _drop_ins(root: Root, unit: str) -> str:
    texts: Mapping[str, str] = root.texts(
        rf"(?:usr/lib|lib|etc)/systemd/system/{re.escape(unit)}\.d/[^/]+\.conf"
    )
    return "".join(f"\n{texts[path]}" for path in sorted(texts))


_NOTHING = TreeEntry("", EntryType.DIRECTORY, 0, 0, 0, 0, 0, None, "", (0, 0), (), 0)
