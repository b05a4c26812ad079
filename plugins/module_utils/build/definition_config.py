# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The OCI configuration of an image, and the state that lives outside of it."""

from __future__ import annotations

import re

from ..core.yaml_fields import Field, Section, nearest
from .definition_model import Healthcheck, ImageConfig, Port, StatePath

STATE_KINDS = ("volume", "tmpfs")
SIGNALS = (
    *("SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE"),
    *("SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT"),
    *("SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU"),
    *("SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS"),
)

_USER = r"([a-z_][a-z0-9_-]*|[0-9]+)(:([a-z_][a-z0-9_-]*|[0-9]+))?"
_LEAST_INTERVAL = 1_000_000
_PORT = re.compile(r"([1-9][0-9]*)(?:/(tcp|udp|sctp))?")
_LAST_PORT = 65535
_PORT_WANTS = 'a port is a number from 1 to 65535, or text such as "8080/tcp" or "53/udp"'
_KERNEL_PATHS = ("/proc", "/sys", "/dev")
_MODE = r"[0-7]{3,4}"


def read_config(top: Section) -> ImageConfig:
    """Return the ``config`` of a definition, all defaults when it has none."""
    field = top.get("config")
    if field is None:
        return ImageConfig()
    section = field.section("{user: www-data}")
    config = ImageConfig(
        user=_user(section.get("user")),
        entrypoint=_argv(section.get("entrypoint")),
        cmd=_argv(section.get("cmd")),
        env=_texts(
            section.get("env"),
            r"[A-Za-z_][A-Za-z0-9_.-]*",
            "a variable's name has letters, digits, _ . and -, and does not begin with a digit",
            '{TZ: "UTC"}',
        ),
        ports=_ports(section.get("ports")),
        volumes=_volumes(section.get("volumes")),
        working_dir=_directory(section.get("working_dir")),
        stop_signal=_signal(section.get("stop_signal")),
        labels=_texts(
            section.get("labels"),
            r"[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?",
            "a label's name has letters, digits and . _ / -, and begins and ends with one of the "
            "first two",
            '{org.opencontainers.image.vendor: "Example"}',
        ),
        healthcheck=_healthcheck(section.get("healthcheck")),
    )
    section.close()
    return config


def _argv(field: Field | None) -> tuple[str, ...] | None:
    return field.argv() if field is not None else None


def _directory(field: Field | None) -> str:
    return (field.absolute_path() if field is not None else None) or ""


def _texts(field: Field | None, key_pattern: str, key_wants: str, example: str) -> dict[str, str]:
    entries = field.entries(key_pattern, key_wants, example) if field is not None else []
    found: dict[str, str] = {}
    for name, entry in entries:
        value = "" if entry.is_text and entry.node.value == "" else entry.text()
        if value is not None:
            found[name] = value
    return found


def _user(field: Field | None) -> str:
    if field is None:
        return ""
    if field.is_whole_number:
        return str(int(field.node.value, 10))
    return field.match(_USER, 'it must be a user, or "USER:GROUP", by name or number') or ""


def _ports(field: Field | None) -> tuple[Port, ...]:
    ports: list[Port] = []
    for item in field.items("[8080]") if field is not None else ():
        port = _port(item)
        if port is not None and port in ports:
            item.complain(f"is {port}, which the list has already; keep one")
        elif port is not None:
            ports.append(port)
    return tuple(ports)


def _port(item: Field) -> Port | None:
    if item.is_whole_number:
        text: str | None = item.node.value
    else:
        text = item.text("a number such as 8080, or text")
    if text is None:
        return None
    found = _PORT.fullmatch(text)
    if found is None or int(found.group(1)) > _LAST_PORT:
        item.complain(f"is {text}; {_PORT_WANTS}")
        return None
    return Port(int(found.group(1)), found.group(2) or "tcp")


def _volumes(field: Field | None) -> tuple[str, ...]:
    return field.each("[/var/lib/app]", Field.absolute_path) if field is not None else ()


def _signal(field: Field | None) -> str:
    value = field.text("a signal's name, such as SIGTERM", "[A-Z]+") if field is not None else None
    if field is None or value is None:
        return ""
    if value in SIGNALS or re.fullmatch(r"SIGRTMIN(\+([1-9]|[12][0-9]|30))?", value):
        return value
    full = value.upper() if value.upper().startswith("SIG") else f"SIG{value.upper()}"
    meant = full if full in SIGNALS else nearest(full.lower(), [s.lower() for s in SIGNALS]).upper()
    advice = f"did you mean {meant}?" if meant else "it must be a name such as SIGTERM or SIGQUIT."
    field.problems.add(field.line, f"{field.path} is {value}, which is no signal; {advice}")
    return ""


def _healthcheck(field: Field | None) -> Healthcheck | None:
    if field is None:
        return None
    section = field.section('{test: ["CMD", "/usr/local/bin/healthcheck"]}')
    test = _test(section.require("test", "it must be what to run, such as [CMD, /bin/check]"))
    usual = Healthcheck(test)
    interval = _duration(section.get("interval"), usual.interval, _LEAST_INTERVAL)
    timeout = _duration(section.get("timeout"), usual.timeout, _LEAST_INTERVAL)
    start_period = _duration(section.get("start_period"), usual.start_period, 0)
    asked = section.get("retries")
    retries = asked.count(1) if asked is not None else usual.retries
    section.close()
    return Healthcheck(test, interval, timeout, start_period, retries or usual.retries)


def _duration(field: Field | None, usual: int, least: int) -> int:
    value = field.duration(least) if field is not None else usual
    return usual if value is None else value


def _test(field: Field | None) -> tuple[str, ...]:
    if field is None:
        return ()
    if not field.is_list:
        text = field.text('a list such as ["CMD", "/bin/check"], or a command for the shell')
        return ("CMD-SHELL", text) if text is not None else ()
    words = field.texts('["CMD", "/bin/check"]')
    first = words[0] if words else "nothing"
    if first not in ("CMD", "CMD-SHELL", "NONE"):
        field.complain(f"begins with {first}; its first item must be CMD, CMD-SHELL or NONE")
    elif first == "NONE" and len(words) > 1:
        field.complain("has items after NONE, which switches the check off; leave them out")
    elif first == "CMD-SHELL" and len(words) != 2:
        field.complain("begins with CMD-SHELL, which takes exactly one item: the whole command")
    elif first == "CMD" and len(words) < 2:
        field.complain("has nothing after CMD; add the command to run")
    return words


def read_state(top: Section, config: ImageConfig) -> tuple[StatePath, ...]:
    """Return the ``state`` of a definition, each path once and none inside of another."""
    field = top.get("state")
    found: list[StatePath] = []
    for item in field.items("[/var/lib/app]") if field is not None else ():
        state = _state_path(item)
        if state is None:
            continue
        where = f"is the path {state.path}"
        for other in found:
            if other.path == state.path:
                item.complain(f"{where}, which the list has already; keep one")
            elif other.path.startswith(state.path + "/"):
                item.complain(f"{where}, which holds {other.path} of the same list; keep one")
            elif state.path.startswith(other.path + "/"):
                item.complain(f"{where}, inside of {other.path} of the same list; keep one")
        if state.path in config.volumes:
            item.complain(f"{where}, which config.volumes has too; keep it here")
        found.append(state)
    return tuple(found)


def _state_path(item: Field) -> StatePath | None:
    if item.is_text:
        path = _path_of_state(item)
        return StatePath(path) if path is not None else None
    section = item.section("{path: /var/lib/app, kind: volume}")
    wanted = section.require("path", "it must be an absolute path such as /var/lib/app")
    path = _path_of_state(wanted) if wanted is not None else None
    kind = field.choice(STATE_KINDS) if (field := section.get("kind")) is not None else "volume"
    owner = _owner(field) if (field := section.get("owner")) is not None else "0:0"
    mode = _mode(field) if (field := section.get("mode")) is not None else "0755"
    section.close()
    if path is None or kind is None or owner is None or mode is None:
        return None
    return StatePath(path, kind, owner, mode)


def _path_of_state(field: Field) -> str | None:
    path = field.absolute_path()
    if path == "/":
        field.complain("is /, the whole image; name a directory below it")
        return None
    if path is not None and path.startswith(tuple(f"{kernel}/" for kernel in _KERNEL_PATHS)):
        field.complain(f"is {path}, which the kernel provides; it cannot be state")
        return None
    if path in _KERNEL_PATHS:
        field.complain(f"is {path}, which the kernel provides; it cannot be state")
        return None
    return path


def _owner(field: Field) -> str | None:
    wants = 'text "UID:GID", such as "33:33"'
    return field.match(r"[0-9]+:[0-9]+", 'it must be "UID:GID" in numbers, such as "33:33"', wants)


def _mode(field: Field) -> str | None:
    wants = 'three or four octal digits in quotes, such as "0750"'
    value = field.match(_MODE, f"it must be {wants}", wants)
    return f"{int(value, 8):04o}" if value is not None else None
