# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Docker Engine of a group, driven through its command line client."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...core.command import Completed, Runner, last_lines, run
from ...core.conversation import Conversation
from ...core.errors import DriverError

GROUP_LABEL = "io.kiln.group"
LIMIT = 60.0
"""Seconds that the engine has for one answer."""


@dataclass(frozen=True, slots=True)
class Client:
    """The engine at *host*, an address as DOCKER_HOST takes it; empty leaves it to the client."""

    host: str = ""
    runner: Runner = field(default=run)

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
            env={**self._address, **(env or {})},
            check=False,
            timeout=timeout,
        )
        if check and done.status != 0:
            raise self.failed(f"docker {' '.join(arguments[:2])}", done)
        return done

    def converse(self, *arguments: str) -> Conversation:
        """Start ``docker ARGUMENTS``, to be asked for as long as it lives."""
        return Conversation(["docker", *arguments], env=self._address)

    @property
    def _address(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.host} if self.host else {}

    def failed(self, what: str, done: Completed) -> DriverError:
        """Return the error that says that *what* failed here."""
        where = f" at {self.host}" if self.host else ""
        return DriverError(f"The engine{where} could not do {what}: {last_lines(done)}")

    def inspect(self, kind: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return what the engine says of those of *names* that it has."""
        if not names:
            return []
        done = self(kind, "inspect", *names, check=False)
        if done.status != 0 and not only_absent(done):
            raise self.failed(f"docker {kind} inspect", done)
        found = json.loads(done.stdout or b"[]")
        return [one for one in found if isinstance(one, dict)]

    def containers(self, group: str, *filters: str) -> list[dict[str, Any]]:
        """Return the containers, running or not, that carry the group's label."""
        wanted = [f"label={GROUP_LABEL}={group}", *filters]
        options = [word for one in wanted for word in ("--filter", one)]
        names = self("ps", "--all", "--quiet", "--no-trunc", *options).text.split()
        return self.inspect("container", names)

    def remove_container(self, name: str) -> None:
        """Remove a container and its nameless volumes; one that is gone already is fine."""
        done = self("rm", "--force", "--volumes", name, check=False)
        # Somebody else may be removing it: then it goes as well.
        if done.status != 0 and not only_absent(done) and b"in progress" not in done.stderr:
            raise self.failed(f"docker rm {name}", done)


def labels(pairs: Mapping[str, str]) -> list[str]:
    """Return the options that put labels on what is made."""
    return [word for key, value in sorted(pairs.items()) for word in ("--label", f"{key}={value}")]


def only_absent(done: Completed) -> bool:
    """Whether all that the client complained of is that something is not there."""
    lines: Iterable[bytes] = [line.lower() for line in done.stderr.splitlines() if line.strip()]
    words = (b"no such", b"not found")
    return bool(lines) and all(any(word in line for word in words) for line in lines)
