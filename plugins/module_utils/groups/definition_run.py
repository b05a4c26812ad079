# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a group's definition that says how each instance runs."""

from __future__ import annotations

from ..core.grammar import NAME, NAME_WANTS
from ..core.yaml_fields import Field, Section
from ..core.yaml_source import is_mapping
from .definition_model import (
    GroupPort,
    Hardening,
    HealthCheck,
    Hook,
    Notification,
    Reference,
    Resources,
    Secret,
    Variable,
    Volume,
)
from .definition_values import (
    choice,
    command,
    decimal,
    seconds,
    size_in_bytes,
    text,
    truth,
    whole,
)
from .policy import Phase

ACCESS = ("exclusive", "shared")
CHECKS = ("http", "tcp", "command", "engine")
MOMENTS = ("before", "after")
EVENTS = ("started", "succeeded", "failed", "paused", "rolled_back")
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE_WANTS = "a variable's name has letters, digits and _, and does not begin with a digit"
_CAPABILITY = r"ALL|[A-Z][A-Z0-9_]+"
_REFERENCES = ("env", "file", "command")
_STATUS = range(100, 600)


def read_volumes(top: Section) -> tuple[Volume, ...]:
    """Return the state that outlives instances."""
    field = top.get("volumes")
    found: list[Volume] = []
    example = "[{name: data, path: /var/lib/app}]"
    for item in field.items(example) if field is not None else ():
        section = item.section(example[1:-1])
        named = section.require("name", "give the volume a name")
        path = section.require("path", "say where the instances see it")
        volume = Volume(
            name=(named.match(NAME, NAME_WANTS) or "") if named is not None else "",
            path=(path.absolute_path() or "") if path is not None else "",
            access=choice(section, "access", ACCESS),
        )
        section.close()
        if any(volume.name == other.name or volume.path == other.path for other in found):
            item.complain("has the name or the path of another volume; each needs its own")
        found.append(volume)
    return tuple(found)


def read_variables(field: Field | None) -> tuple[Variable, ...]:
    """Return an environment: texts, or where they are."""
    entries = field.entries(_VARIABLE, _VARIABLE_WANTS, '{TZ: "UTC"}') if field is not None else []
    found: list[Variable] = []
    for name, entry in entries:
        if entry.is_text and entry.node.value == "":
            found.append(Variable(name))
        elif entry.is_text or not _is_reference(entry):
            found.append(Variable(name, entry.text() or ""))
        else:
            found.append(Variable(name, reference=_reference(entry)))
    return tuple(found)


def _is_reference(field: Field) -> bool:
    return is_mapping(field.node)


def _reference(field: Field) -> Reference:
    section = field.section("{env: NAME}")
    given = [(kind, one) for kind in _REFERENCES if (one := section.get(kind)) is not None]
    section.close()
    if len(given) != 1:
        field.complain("must say in one way where the value is: env, file or command")
        return Reference("env")
    kind, value = given[0]
    if kind == "command":
        return Reference(kind, command=value.argv())
    return Reference(kind, name=value.text() or "")


def read_secrets(top: Section) -> tuple[Secret, ...]:
    """Return the files that only memory holds."""
    field = top.get("secrets")
    found: list[Secret] = []
    example = "[{name: db, from: {file: db.password}}]"
    for item in field.items(example) if field is not None else ():
        section = item.section(example[1:-1])
        named = section.require("name", "give the secret a name")
        origin = section.require("from", "say where it is, such as {file: db.password}")
        path = section.get("path")
        name = (named.match(NAME, NAME_WANTS) or "") if named is not None else ""
        found.append(
            Secret(
                name=name,
                reference=_reference(origin) if origin is not None else Reference("env"),
                path=(path.absolute_path() if path is not None else None) or f"/run/secrets/{name}",
                owner=text(section, "owner", r"[0-9]+:[0-9]+", "it must be UID:GID, numbers")
                or "0:0",
                mode=text(section, "mode", r"0?[0-7]{3}", "it must be octal digits, such as 0400")
                or "0400",
            )
        )
        section.close()
    return tuple(found)


def read_resources(top: Section) -> Resources:
    """Return the limits of each instance."""
    field = top.get("resources")
    if field is None:
        return Resources()
    section = field.section("{memory: 512m, cpus: 1}")
    found = Resources(
        memory=size_in_bytes(section, "memory"),
        cpus=decimal(section, "cpus"),
        pids=whole(section, "pids", 512, least=1),
    )
    section.close()
    if found.cpus is not None and found.cpus <= 0:
        field.complain("has cpus of 0 or less; leave it out for no limit")
    return found


def read_hardening(top: Section) -> Hardening:
    """Return what instances may do; everything strict that the definition does not loosen."""
    field = top.get("hardening")
    if field is None:
        return Hardening()
    section = field.section("{read_only: true, tmpfs: [/run]}")
    drop, add, tmpfs = section.get("drop"), section.get("add"), section.get("tmpfs")
    found = Hardening(
        read_only=truth(section, "read_only", True),
        no_new_privileges=truth(section, "no_new_privileges", True),
        drop=drop.each("[ALL]", _capability) if drop is not None else ("ALL",),
        add=add.each("[NET_BIND_SERVICE]", _capability) if add is not None else (),
        tmpfs=tmpfs.each("[/run]", Field.absolute_path) if tmpfs is not None else (),
        user=text(section, "user", r"[0-9a-z_:-]+", "it must be a user or UID:GID"),
    )
    section.close()
    return found


def _capability(field: Field) -> str | None:
    return field.match(
        _CAPABILITY, "it must be a capability without CAP_, such as NET_BIND_SERVICE", "text"
    )


def read_health(top: Section, ports: tuple[GroupPort, ...]) -> tuple[HealthCheck, ...]:
    """Return the health checks; without any, the engine's own."""
    field = top.get("health")
    found: list[HealthCheck] = []
    for item in field.items("[{kind: http, path: /}]") if field is not None else ():
        section = item.section("{kind: http, path: /}")
        kind_field = section.require("kind", "it must be http, tcp, command or engine")
        kind = (kind_field.choice(CHECKS) if kind_field is not None else None) or CHECKS[0]
        port = whole(section, "port", ports[0].container if ports else 0, most=65535)
        status = section.get("status")
        check = HealthCheck(
            kind=kind,
            port=port if kind in {"http", "tcp"} else 0,
            path=text(section, "path", "/.*", "it must begin with /") or "/",
            status=_statuses(status) if status is not None else (200,),
            command=command(section),
            interval=seconds(section, "interval", 2.0, least=0.05),
            timeout=seconds(section, "timeout", 2.0, least=0.05),
            healthy=whole(section, "healthy", 2, least=1),
            unhealthy=whole(section, "unhealthy", 3, least=1),
        )
        section.close()
        if kind in {"http", "tcp"} and not port:
            item.complain("has no port, and the group declares none; give one")
        if kind == "command" and not check.command:
            item.complain('has no command; give one, such as ["/usr/bin/app", "check"]')
        found.append(check)
    return tuple(found) or (HealthCheck("engine"),)


def _statuses(field: Field) -> tuple[int, ...]:
    if field.is_whole_number:
        number = field.count(100)
        return (number,) if number is not None else (200,)
    found = [number for item in field.items("[200, 204]") if (number := item.count(100))]
    if any(number not in _STATUS for number in found):
        field.complain("has a number that is no status of HTTP; they are from 100 to 599")
    return tuple(found) or (200,)


def read_hooks(top: Section) -> tuple[Hook, ...]:
    """Return the one-off containers before and after a rotation."""
    field = top.get("hooks")
    found: list[Hook] = []
    example = '[{name: migrate, when: before, phase: expand, command: ["./migrate"]}]'
    for item in field.items(example) if field is not None else ():
        section = item.section(example[1:-1])
        named = section.require("name", "give the hook a name")
        when = section.require("when", "it must be before or after")
        phase = section.require(
            "phase",
            "it must be expand (the old version still works afterwards) or contract (it does not)",
        )
        section.require("command", "say what the container runs")
        hook = Hook(
            name=(named.match(NAME, NAME_WANTS) or "") if named is not None else "",
            when=(when.choice(MOMENTS) if when is not None else None) or MOMENTS[0],
            command=command(section),
            phase=Phase(
                (phase.choice([one.value for one in Phase]) if phase is not None else None)
                or Phase.EXPAND
            ),
            timeout=seconds(section, "timeout", 600.0, least=0.1),
            environment=read_variables(section.get("environment")),
        )
        section.close()
        if any(hook.name == other.name for other in found):
            item.complain(f"has the name {hook.name}, as another hook has; give it another")
        found.append(hook)
    return tuple(found)


def read_notifications(top: Section) -> tuple[Notification, ...]:
    """Return who is told."""
    field = top.get("notifications")
    found: list[Notification] = []
    example = '[{kind: command, command: ["./tell"]}]'
    for item in field.items(example) if field is not None else ():
        section = item.section(example[1:-1])
        kind_field = section.require("kind", "it must be webhook or command")
        kind = (kind_field.choice(("webhook", "command")) if kind_field is not None else None) or ""
        events = section.get("events")
        one = Notification(
            kind=kind,
            url=text(section, "url", r"https?://.+", "it must be an address, http or https"),
            command=command(section),
            events=events.each("[failed]", _event) if events is not None else EVENTS,
            timeout=seconds(section, "timeout", 10.0, least=0.1),
        )
        section.close()
        if (kind == "webhook" and not one.url) or (kind == "command" and not one.command):
            item.complain(f"is a {kind} without its {'url' if kind == 'webhook' else kind}")
        found.append(one)
    return tuple(found)


def _event(field: Field) -> str | None:
    return field.choice(EVENTS)
