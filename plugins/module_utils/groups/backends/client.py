# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Docker Engine of a group, driven through its command line client."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...core.command import Completed, Runner, last_lines, run
from ...core.conversation import Conversation
from ...core.errors import DriverError
from .line import Line, Unanswered

GROUP_LABEL = "io.kiln.group"
LIMIT = 60.0
"""Seconds that the engine has for one answer."""

_PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}
"""Where the engine tells of what ``docker KIND inspect`` shows."""


@dataclass(frozen=True, slots=True)
class Client:
    """The engine at *host*, an address as DOCKER_HOST takes it; empty leaves it to the client.

    :param line: to ask it over; without one, and when it fails, a program is run for each question.
    """

    host: str = ""
    runner: Runner = field(default=run)
    line: Line | None = None

    @classmethod
    def at(cls, host: str, runner: Runner = run) -> Client:
        """Return the client for *host*; one with another *runner* asks through that alone."""
        line = Line(_address(host), LIMIT) if runner is run else None
        return cls(host, runner, line)

    def __call__(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = LIMIT,
    ) -> Completed:
        """Run ``docker ARGUMENTS``; DriverError names the engine when it fails."""
        done = self.runner(
            ["docker", *arguments],
            stdin=stdin,
            env={**_address(self.host), **(env or {})},
            check=False,
            timeout=timeout,
        )
        if check and done.status != 0:
            raise self.failed(f"docker {' '.join(arguments[:2])}", done)
        return done

    def converse(self, *arguments: str) -> Conversation:
        """Start ``docker ARGUMENTS``, to be asked for as long as it lives."""
        return Conversation(["docker", *arguments], env=_address(self.host))

    def close(self) -> None:
        """Let go of the line."""
        if self.line is not None:
            self.line.close()

    def failed(self, what: str, done: Completed) -> DriverError:
        """Return the error that says that *what* failed here."""
        where = f" at {self.host}" if self.host else ""
        return DriverError(f"The engine{where} could not do {what}: {last_lines(done)}")

    def inspect(self, kind: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return what the engine says of those of *names* that it has."""
        if not names:
            return []
        if self.line is not None and kind in _PATHS:
            with contextlib.suppress(Unanswered):
                said = [self.line.ask("GET", _PATHS[kind].format(name)) for name in names]
                return [one for one in said if isinstance(one, dict)]
        done = self(kind, "inspect", *names, check=False)
        if done.status != 0 and not only_absent(done):
            raise self.failed(f"docker {kind} inspect", done)
        found = json.loads(done.stdout or b"[]")
        return [one for one in found if isinstance(one, dict)]

    def containers(self, group: str, *filters: str) -> list[dict[str, Any]]:
        """Return the containers, running or not, that carry the group's label."""
        wanted = [f"label={GROUP_LABEL}={group}", *filters]
        if self.line is not None:
            with contextlib.suppress(Unanswered):
                found = self.line.ask("GET", "/containers/json", all="1", filters=_by_kind(wanted))
                return self.inspect("container", [str(one["Id"]) for one in found])
        options = [word for one in wanted for word in ("--filter", one)]
        names = self("ps", "--all", "--quiet", "--no-trunc", *options).text.split()
        return self.inspect("container", names)

    def volumes(self, *marks: str) -> dict[str, dict[str, str]]:
        """Return the labels of the volumes that carry *marks*, ``LABEL=VALUE``, by name.

        No value may have a comma in it.
        """
        if self.line is not None:
            with contextlib.suppress(Unanswered):
                answer = self.line.ask("GET", "/volumes", filters={"label": list(marks)})
                return {one["Name"]: one["Labels"] or {} for one in answer["Volumes"] or ()}
        options = [word for one in marks for word in ("--filter", f"label={one}")]
        said = self("volume", "ls", "--format", "{{.Name}} {{.Labels}}", *options).text
        found = {}
        for line in said.splitlines():
            name, _space, rest = line.partition(" ")
            pairs = (one.partition("=") for one in rest.split(","))
            found[name] = {key: value for key, _sign, value in pairs}
        return found

    def create_volume(self, name: str, marks: Mapping[str, str]) -> None:
        """Make a volume, or nothing when there is one of that name."""
        if self.line is not None:
            with contextlib.suppress(Unanswered):
                wanted = {"Name": name, "Labels": dict(marks)}
                self.line.ask("POST", "/volumes/create", wanted)
                return
        self("volume", "create", *labels(marks), name)

    def remove_volume(self, name: str) -> None:
        """Remove a volume; nothing when it is gone."""
        if self.line is not None:
            with contextlib.suppress(Unanswered):
                self.line.ask("DELETE", f"/volumes/{name}", force="1")
                return
        self("volume", "rm", "--force", name)

    def remove_container(self, name: str) -> None:
        """Remove a container and its nameless volumes; one that is gone already is fine."""
        done = self("rm", "--force", "--volumes", name, check=False)
        # Somebody else may be removing it: then it goes as well.
        if done.status != 0 and not only_absent(done) and b"in progress" not in done.stderr:
            raise self.failed(f"docker rm {name}", done)


def _address(host: str) -> dict[str, str]:
    return {"DOCKER_HOST": host} if host else {}


def _by_kind(filters: Iterable[str]) -> dict[str, list[str]]:
    """Return filters of the command line as the engine takes them."""
    found: dict[str, list[str]] = {}
    for one in filters:
        kind, _sign, value = one.partition("=")
        found.setdefault(kind, []).append(value)
    return found


def labels(pairs: Mapping[str, str]) -> list[str]:
    """Return the options that put labels on what is made."""
    return [word for key, value in sorted(pairs.items()) for word in ("--label", f"{key}={value}")]


def only_absent(done: Completed) -> bool:
    """Whether all that the client complained of is that something is not there."""
    lines: Iterable[bytes] = [line.lower() for line in done.stderr.splitlines() if line.strip()]
    words = (b"no such", b"not found")
    return bool(lines) and all(any(word in line for word in words) for line in lines)
