# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container with a group's HAProxy: made, configured, asked, loaded anew."""

from __future__ import annotations

import contextlib
import io
import secrets
import tarfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock

from ...core.conversation import Conversation, Ended
from ...core.errors import DriverError
from ...core.waiting import Clock, wait_for
from ..backends.client import GROUP_LABEL, LIMIT, Client, labels
from .configuration import Balance, render, structure
from .runtime import CLOSE, STATE, SlotState, parse_state, refuse_errors

ROLE_LABEL = "io.kiln.role"
_PROGRAM = "/usr/local/bin/balancer"
_STATE = "/var/lib/balancer"
_UID = 199  # of the role haproxy
_STOP = 75  # seconds: more than the role's hard-stop-after
_READY = 30.0
_CLOSING = 1.0

_LOOP = """\
exec 3>&1
while read -r mark size commands; do
    status=0
    if [ "$size" = - ]; then
        said=$("$0" ask "$commands" 2>&1 >&3) || status=$?
    elif [ "$size" = + ]; then
        said=$(cat "$commands" 2>&1 >&3) || status=$?
    elif [ "${size#=}" != "$size" ]; then
        said=$({ new=$(mktemp "$1.XXXXXX") && head -c "${size#=}" >"$new" && mv "$new" "$1" &&
            "$0" ask "$commands"; } 2>&1 >&3) || status=$?
    else
        said=$(head -c "$size" | "$0" write "$commands" 2>&1 >&3) || status=$?
    fi
    [ "$status" = 0 ] || printf '%s' "$said"
    printf '\\n%s %s\\n' "$mark" "$status"
done
"""


def asking(program: str = _PROGRAM, path: str = f"{_STATE}/group.cfg") -> list[str]:
    """Return the command that has *program* asked as often as a line comes in.

    A line is ``MARK SIZE COMMANDS``. The size says that so many bytes for the program's input
    follow, and is - when it has none. With = before the size those bytes are put at *path*, and
    then the commands asked, without HAProxy's look at the whole file, which takes the longest.
    With + the commands are a file that is wanted. After each answer comes the line
    ``MARK STATUS``; before that, when it failed, what was said of it. The engine takes longer to
    start one program in a container than this to answer ten questions.
    """
    return ["/bin/sh", "-c", _LOOP, program, path]


@dataclass(frozen=True, slots=True)
class Site:
    """Where the balancer of a group runs.

    :param image: what the engine calls its image.
    :param network: the engine's network that it reaches the instances over.
    :param bind: the address of the host that services are published at; empty for all.
    """

    image: str
    network: str
    bind: str = ""


@dataclass(slots=True)
class Balancer:
    """HAProxy for one group.

    :param balance: what it was told last, by us or by whoever had the group before.
    """

    client: Client
    group: str
    site: Site
    balance: Balance
    clock: Clock = field(default=time)
    made: bool = False
    _asked: Conversation | None = field(default=None, init=False)
    _turn: Lock = field(default_factory=Lock, init=False)

    @property
    def name(self) -> str:
        """The name of the container."""
        return f"kiln-{self.group}-balancer"

    def exists(self) -> bool:
        """Whether it is there, running or not; asked until it is."""
        self.made = self.made or bool(self.client.inspect("container", [self.name]))
        return self.made

    def running(self) -> bool:
        """Whether it is there and runs."""
        found = self.client.inspect("container", [self.name])
        return bool(found) and bool(found[0]["State"]["Running"])

    def ensure(self) -> None:
        """Make it, start it or load it anew, so that it does what :attr:`balance` says.

        One that runs keeps its instances, their weights and who is drained.
        """
        found = self.client.inspect("container", [self.name])
        if not found:
            self._create()
        if not found or not found[0]["State"]["Running"]:
            self.client("start", self.name)
            self._wait_for_answer()
            found = self.client.inspect("container", [self.name])
        self._refuse_other_ports(found[0]["HostConfig"]["PortBindings"] or {})
        text = self._tell(f"{_STATE}/group.cfg", b"+")
        wanted = self.balance.slots
        self.states()
        has = self.balance.slots
        self.balance = replace(self.balance, slots=has + wanted[len(has) :])
        if structure(render(self.balance)) != structure(text):
            self.reload()

    def reload(self) -> None:
        """Have HAProxy start again with what it was told last; its sockets stay open.

        The process that goes closes connections in which nothing happens, and a request may just be
        on its way in one. So it first ends connections after an answer, as HTTP has it.
        """
        before = self._process()
        self.write(looks=True)
        self._ask(CLOSE)
        self.clock.sleep(_CLOSING)
        self.client("kill", "--signal", "USR2", self.name)
        wait_for(
            f"the balancer {self.name} to be loaded anew",
            lambda: True if self._process() not in ("", before) else None,
            timeout=_READY,
            interval=0.1,
            clock=self.clock,
        )

    def write(self, commands: Sequence[str] = (), *, looks: bool = False) -> None:
        """Keep :attr:`balance` for a restart, then have *commands* done at once.

        :param looks: have HAProxy look at the file first, as its structure is another.
        """
        text = render(self.balance).encode()
        size = f"{'' if looks else '='}{len(text)}".encode()
        refuse_errors(self._tell("; ".join(commands), size, text))

    def states(self) -> list[SlotState]:
        """Return the state of each slot, and take it for :attr:`balance`."""
        found = parse_state(self.balance, self._ask(STATE))
        self.balance = replace(self.balance, slots=tuple(state.slot for state in found))
        return found

    def remove(self) -> None:
        """Remove the container and what it keeps."""
        self.client.remove_container(self.name)
        self.client("volume", "rm", "--force", self.name)

    def close(self) -> None:
        """End what asks HAProxy; the next question begins it again."""
        if self._asked is not None:
            self._asked.close()
            self._asked = None

    def _ask(self, command: str) -> str:
        return self._tell(command, b"-")

    def _tell(self, commands: str, size: bytes, text: bytes = b"") -> str:
        """Return what :func:`asking` answers; begin it when that was not done, or it ended."""
        with self._turn:
            known = self._asked is not None
            try:
                status, said = self._converse(commands, size, text)
            except Ended as error:
                self.close()
                if not known:
                    raise self._unable("does not answer", str(error)) from error
                # The container was started again, say. All that is said may be said again.
                try:
                    status, said = self._converse(commands, size, text)
                except Ended as again:
                    self.close()
                    raise self._unable("does not answer", str(again)) from again
            if status != 0:
                # Of its input something may be left.
                self.close()
                last = said.strip().rpartition("\n")[2] or f"it ended with status {status}"
                raise self._unable("did not do what it was told", last)
        return said

    def _converse(self, commands: str, size: bytes, text: bytes) -> tuple[int, str]:
        if self._asked is None:
            self._asked = self.client.converse("exec", "--interactive", self.name, *asking())
        mark = secrets.token_hex(8).encode()
        question = b" ".join((mark, size, commands.encode())) + b"\n" + text
        said, status = self._asked.ask(question, mark, LIMIT)
        return int(status), said.decode("utf-8", "replace").rstrip("\n")

    def _unable(self, what: str, why: str) -> DriverError:
        return DriverError(
            f"The balancer {self.name} {what}: {why}",
            hint=f"Look at it: docker logs {self.name}; docker start {self.name}",
        )

    def _process(self) -> str:
        """Return the number of the process that answers; empty while none does."""
        with contextlib.suppress(DriverError):
            lines = self._ask("show info").splitlines()
            return next((line for line in lines if line.startswith("Pid: ")), "")
        return ""

    def _wait_for_answer(self) -> None:
        def probe() -> str | None:
            found = self.client.inspect("container", [self.name])[0]
            # One that cannot read its file is started again and again.
            if not found["State"]["Running"] or found["RestartCount"]:
                said = self.client("logs", "--tail", "5", self.name)
                raise DriverError(
                    f"The balancer {self.name} ended at once:"
                    f" {(said.stderr or said.stdout).decode('utf-8', 'replace').strip()}"
                )
            return self._process() or None

        wait_for(f"the balancer {self.name}", probe, timeout=_READY, clock=self.clock)

    def _published(self) -> set[int]:
        return {service.published for service in self.balance.services}

    def _refuse_other_ports(self, bindings: Iterable[str]) -> None:
        has = {int(key.partition("/")[0]) for key in bindings}
        if has != self._published():
            listed = ", ".join(map(str, sorted(has))) or "none"
            raise DriverError(
                f"The balancer {self.name} publishes other ports than the group: {listed}.",
                hint=f"Take it away in a quiet hour: docker rm --force {self.name}",
            )

    def _create(self) -> None:
        marks = {GROUP_LABEL: self.group, ROLE_LABEL: "balancer"}
        self.client("volume", "create", *labels(marks), self.name)
        bind = f"{self.site.bind}:" if self.site.bind else ""
        published = [
            word
            for port in sorted(self._published())
            for word in ("--publish", f"{bind}{port}:{port}")
        ]
        options = [
            *("--name", self.name, *labels(marks), "--network", self.site.network, *published),
            *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            *("--pids-limit", "256", "--restart", "unless-stopped", "--stop-timeout", str(_STOP)),
            *("--tmpfs", f"/run/haproxy:uid={_UID},gid={_UID},mode=0750"),
            *("--volume", f"{self.name}:{_STATE}"),
            # The image's check is for those who start it by hand; here the driver asks.
            "--no-healthcheck",
        ]
        self.client("create", "--pull", "never", *options, self.site.image)
        self.client("cp", "-", f"{self.name}:{_STATE}", stdin=_archive(render(self.balance)))


def _archive(text: str) -> bytes:
    """Return a tar with the group's file, owned by HAProxy."""
    content = text.encode()
    entry = tarfile.TarInfo("group.cfg")
    entry.size, entry.mode, entry.uid, entry.gid = len(content), 0o640, _UID, _UID
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()
