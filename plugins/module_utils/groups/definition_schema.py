# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of a group definition: which keys there are, and what each may hold."""

from __future__ import annotations

import re
from typing import Any

from ..core.grammar import DIGEST, DIGEST_WANTS, NAME, NAME_LENGTH, NAME_WANTS
from ..core.yaml_fields import Field, Section
from ..core.yaml_source import (
    NoValueError,
    Source,
    construct,
    is_mapping,
    is_scalar,
    is_sequence,
    line_of,
)
from .definition_drift import read_drift
from .definition_model import BackendChoice, GroupDefinition, GroupPort, ImageChoice
from .definition_policy import read_policy
from .definition_run import (
    read_hardening,
    read_health,
    read_hooks,
    read_notifications,
    read_resources,
    read_secrets,
    read_variables,
    read_volumes,
)
from .definition_values import choice, seconds, text

BACKENDS = ("docker", "swarm")
MODES = ("http", "tcp")
_NUMBER = r"(0|[1-9][0-9]*)"
_LAST_PORT = 65535


def read_group(source: Source) -> GroupDefinition:
    """Return what *source* defines; raises one DriverError that lists all of its problems."""
    root = Field(source.root, "", 1, source.problems)
    top = root.section("")
    name = _name(top, source)
    image = _image(top)
    size_field = top.require("size", "say how many instances there are to be")
    size = size_field.count(0) if size_field is not None else None
    ports = _ports(top)
    volumes = read_volumes(top)
    definition = GroupDefinition(
        name=name,
        image=image,
        size=size or 0,
        backend=_backend(top),
        ports=ports,
        volumes=volumes,
        environment=read_variables(top.get("environment")),
        secrets=read_secrets(top),
        resources=read_resources(top),
        hardening=read_hardening(top),
        health=read_health(top, ports),
        policy=read_policy(top, any(one.access == "exclusive" for one in volumes)),
        hooks=read_hooks(top),
        notifications=read_notifications(top),
        stop_timeout=seconds(top, "stop_timeout", 10.0),
        drain_time=seconds(top, "drain_time", 30.0),
        command=_command(top),
        ignored_drift=read_drift(top),
        shown_path=source.shown_path,
        lines=dict(_lines(source.root, "")),
        document=_document(source),
    )
    top.close(free_prefix="x-")
    if source.problems:
        raise source.problems.error()
    return definition


def _name(top: Section, source: Source) -> str:
    field = top.get("name")
    if field is None:
        stem = source.path.stem
        if not stem:
            source.problems.add(1, f"name is missing; {NAME_WANTS}.")
            return ""
        if re.fullmatch(NAME, stem) is None or len(stem) > NAME_LENGTH:
            source.problems.add(
                1, f"name is missing, and the file's name {stem} cannot be one; {NAME_WANTS}."
            )
        return stem
    name = field.match(NAME, NAME_WANTS) or ""
    if len(name) > NAME_LENGTH:
        field.complain(f"has {len(name)} characters; a name has at most {NAME_LENGTH}")
    return name


def _image(top: Section) -> ImageChoice:
    field = top.require("image", "name an image, such as {name: web, channel: prod}")
    if field is None:
        return ImageChoice("")
    section = field.section("{name: web, channel: prod}")
    named = section.require("name", "name an image of the catalog")
    version = section.get("version")
    digest = section.get("digest")
    found = ImageChoice(
        name=(named.match(NAME, NAME_WANTS) or "") if named is not None else "",
        channel=text(section, "channel", NAME, NAME_WANTS),
        version=(
            version.match(
                rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}", "it must be a version such as 1.0.3", "text"
            )
            if version is not None
            else None
        )
        or "",
        digest=(digest.match(DIGEST, DIGEST_WANTS) if digest is not None else None) or "",
    )
    section.close()
    given = [one for one in (section.get(key) for key in ("channel", "version", "digest")) if one]
    if len(given) != 1:
        field.complain(
            f"has {'none' if not given else str(len(given))} of channel, version and digest; "
            "give exactly one"
        )
    return found


def _backend(top: Section) -> BackendChoice:
    field = top.get("backend")
    if field is None:
        return BackendChoice()
    if field.is_text:
        return BackendChoice(kind=field.choice(BACKENDS) or BACKENDS[0])
    section = field.section("{kind: docker}")
    kind = choice(section, "kind", BACKENDS)
    hosts_field = section.get("hosts")
    hosts = (
        hosts_field.each("[ssh://web1.example.com]", Field.text) if hosts_field is not None else ()
    )
    options_field = section.get("options")
    options: dict[str, Any] = {}
    if options_field is not None and not options_field.empty:
        if is_mapping(options_field.node):
            options = dict(_values(options_field))
        else:
            options_field.complain("must be a mapping of the backend's own settings")
    section.close()
    return BackendChoice(kind=kind, hosts=hosts, options=options)


def _ports(top: Section) -> tuple[GroupPort, ...]:
    field = top.get("ports")
    found: list[GroupPort] = []
    for item in field.items("[{container: 8080, published: 80}]") if field is not None else ():
        if item.is_whole_number:
            found.append(GroupPort(_port(item) or 0))
            continue
        section = item.section("{container: 8080, published: 80}")
        inside = section.require("container", "say on which port the instances listen")
        published = section.get("published")
        port = GroupPort(
            container=(_port(inside) if inside is not None else None) or 0,
            published=_port(published) if published is not None else None,
            mode=choice(section, "mode", MODES),
        )
        section.close()
        if port.published and any(other.published == port.published for other in found):
            item.complain(f"publishes {port.published}, as another port does; keep one")
        found.append(port)
    return tuple(found)


def _port(field: Field) -> int | None:
    number = field.count(1)
    if number is not None and number > _LAST_PORT:
        field.complain(f"is {number}; a port is a number from 1 to {_LAST_PORT}")
        return None
    return number


def _command(top: Section) -> tuple[str, ...] | None:
    field = top.get("command")
    return field.argv() if field is not None else None


def _values(field: Field) -> dict[str, Any]:
    value = construct(field.node)
    return value if isinstance(value, dict) else {}


def _document(source: Source) -> dict[str, Any]:
    try:
        value = construct(source.root)
    except NoValueError as error:
        source.problems.add(error.line, f"the definition {error}.")
        return {}
    return value if isinstance(value, dict) else {}


def _lines(node: Any, path: str) -> list[tuple[str, int]]:
    """Return the line of each key path, as the messages of :class:`Field` write it."""
    found: list[tuple[str, int]] = []
    if is_mapping(node):
        for key, value in node.value:
            if is_scalar(key):
                inside = f"{path}.{key.value}" if path else str(key.value)
                found += [(inside, line_of(key)), *_lines(value, inside)]
    elif is_sequence(node):
        for at, item in enumerate(node.value):
            found += [(f"{path}[{at}]", line_of(item)), *_lines(item, f"{path}[{at}]")]
    return found
